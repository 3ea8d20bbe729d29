"""What the values of options look like: files, sizes, times, lists of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

__all__ = [
    "ADC_RANGE",
    "BYTES",
    "CHIP",
    "DEVICE",
    "DURATION",
    "FILE",
    "FLOATS",
    "MAPPING",
    "NETWORK",
    "NUMBER",
    "PACKING",
    "SIZE",
    "STATE",
    "STRATEGY",
    "TASK",
    "states_of",
    "within",
]

if TYPE_CHECKING:
    from pimc.passes.layout.pack import Packing

    _ParamType = click.ParamType
else:

    class _ParamType(click.ParamType):
        """Older versions of click do not know it as a generic class."""

        def __class_getitem__(cls, value: type) -> type:
            return cls


class _Number(_ParamType[float]):
    """``0.5``: a number that is none of NaN and infinity, from ``low`` to ``high``."""

    name = "number"

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not self.low <= number <= self.high:
            least = f" of {self.low:g} or more" if math.isfinite(self.low) else ""
            most = f" and {self.high:g} at most" if math.isfinite(self.high) else ""
            self.fail(f"{value!r} is not a number{least}{most}", param, ctx)
        return number


class _Floats(_ParamType[tuple[float, ...]]):
    """``0.5`` or ``0.1,0.2,0.3``."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.5 or 0.1,0.2,0.3", param, ctx)


class _Size(_ParamType[tuple[int, int]]):
    """``128x64``: two whole numbers above zero."""

    name = "RxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})", str(value).strip())
        if match is None or 0 in (int(match[1]), int(match[2])):
            self.fail(f"{value!r} is not two whole numbers such as 128x64", param, ctx)
        return int(match[1]), int(match[2])


class _Bytes(_ParamType[int]):
    """``4G``, ``512M``: bytes."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        from pimc.errors import UsageError
        from pimc.work.memory import bytes_of

        try:
            return bytes_of(value)
        except UsageError:
            self.fail(f"{value!r} is no size such as 512M or 4G", param, ctx)


class _Named(_ParamType[str]):
    """A name that there is a list of; whether it is in there is asked when it is looked up.

    Args:
        known: all names.
        files: a file may be named, too.
    """

    name = "text"

    def __init__(self, known: Callable[[], Iterable[str]], *, files: bool = False) -> None:
        self._known, self._files = known, files

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        return str(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        """Names that begin so; a shell shows files where there are none."""
        from click.shell_completion import CompletionItem

        names = [name for name in self._known() if name.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if self._files else []
        return [*files, *map(CompletionItem, names)]


def _chips() -> Iterable[str]:
    from pimc.chip.design import Chip

    return Chip.shipped()


def _devices() -> Iterable[str]:
    from pimc.runtime.door.drivers import devices

    return (one.name for one in devices())


def _networks() -> Iterable[str]:
    from pimc.zoo.record import names

    return names()


def _strategies() -> Iterable[str]:
    from pimc.passes.recover.strategies import strategies

    return (one.name for one in strategies())


def _tasks() -> Iterable[str]:
    from pimc.tasks.find import tasks

    return tasks()


class _Duration(_ParamType[float]):
    """``1d``, ``90 s``: a time span in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(s|min|h|d|y)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no time such as 90s, 5min, 12h, 1d or 10y", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class _Packing(_ParamType["Packing"]):
    """``dense``, ``parallel``, ``single``, or how many read steps a layer may take in an array."""

    name = "packing"

    def convert(self, value: Any, param: Any, ctx: Any) -> Packing:
        if isinstance(value, int) or value in ("dense", "parallel", "single"):
            return cast("Packing", value)
        if not re.fullmatch(r"[1-9][0-9]{0,8}", str(value)):
            text = "dense, parallel, single or a whole number above 0"
            self.fail(f"{value!r} is none of {text}", param, ctx)
        return int(value)


class _State(_ParamType[tuple[str, str]]):
    """``h=hn``: an input, and the output that feeds it one step later."""

    name = "INPUT=OUTPUT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        fed, _, output = str(value).partition("=")
        if not fed or not output:
            self.fail(f"{value!r} names no input and output such as h=hn", param, ctx)
        return fed, output


def states_of(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Outputs by the inputs that they feed, of all ``--state`` of a command.

    Raises:
        UsageError: an input is fed by several.
    """
    from pimc.errors import UsageError

    found: dict[str, str] = {}
    for fed, output in given:
        if found.setdefault(fed, output) != output:
            told = f"{fed} is fed by {found[fed]} and by {output}"
            raise UsageError(told, "--state", "name one output an input")
    return found


class _OfLayers(_ParamType[tuple[str, str]]):
    """``WHAT`` for all layers, ``LAYER=WHAT`` for some: glob and words; of all it is empty.

    Args:
        require: makes sure that the words are understood, for a glob; raises ``PimcError``.
    """

    def __init__(self, name: str, require: Callable[[str, str], None]) -> None:
        self.name, self._require = name, require

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        from pimc.errors import PimcError

        if isinstance(value, tuple):
            return value
        glob, of_layers, text = str(value).rpartition("=")
        if of_layers and not glob:
            self.fail(f"{value!r} names no layer", param, ctx)
        try:
            self._require(glob, text)
        except PimcError as cause:
            self.fail(str(cause), param, ctx)
        return glob, text


def _require_mapping(glob: str, text: str) -> None:
    """``sliced:2``, ``conv*=digital``: how weights become cells; digital are some layers alone."""
    from pimc.chip.layer_mapping import parse_mapping

    if text != "digital" or not glob:
        parse_mapping(text)


def _require_range(glob: str, text: str) -> None:
    """``percentile:100``, ``fc=column``: how ranges of ADCs are chosen."""
    from pimc.passes.quantize.adc_choice import parse_range

    parse_range(text)


#: Seconds of the units that a time may be given in; a year has 365.25 days.
_SECONDS: Mapping[str, float] = {
    "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 31_557_600.0,
}  # fmt: skip

ADC_RANGE = _OfLayers("range", _require_range)
BYTES = _Bytes()
CHIP = _Named(_chips, files=True)
DEVICE = _Named(_devices)
DURATION = _Duration()
FILE = click.Path(path_type=Path)
FLOATS = _Floats()
MAPPING = _OfLayers("mapping", _require_mapping)
NETWORK = _Named(_networks)
NUMBER = _Number()
PACKING = _Packing()
SIZE = _Size()
STATE = _State()
STRATEGY = _Named(_strategies)
TASK = _Named(_tasks)


def within(low: float, high: float = math.inf) -> _Number:
    """A number from ``low`` to ``high``, no infinity."""
    return _Number(low, high)
