"""What all commands share: the options every one takes, parameter types, the report."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from pimc.progress import Progress, progress

__all__ = [
    "DURATION",
    "FILE",
    "FLOATS",
    "PACKING",
    "SEED_LIMIT",
    "SIZE",
    "Function",
    "Report",
    "Settings",
    "command",
    "data_options",
    "explain_option",
    "image_argument",
    "ir_drop_option",
    "note",
    "partition_options",
    "worker_options",
]

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # older versions of click do not know it as a generic class
    _ParamType = click.ParamType

Function = TypeVar("Function", bound=Callable[..., Any])

SEED_LIMIT = 2**63 - 1
FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Settings:
    """The options of every command."""

    json: bool
    seed: int
    quiet: bool

    @property
    def progress(self) -> Progress:
        """How long work reports its progress."""
        return progress(quiet=self.quiet)


@dataclass(frozen=True)
class Report:
    """What a command has to say.

    Attributes:
        data: the JSON object.
        text: the same for people.
        exit_code: 1 where the check the user asked for failed.
        answer: the text is what the user asked for, so ``--quiet`` does not drop it.
    """

    data: Mapping[str, Any]
    text: str
    exit_code: int = 0
    answer: bool = True


def command(name: str) -> Callable[[Callable[..., Report]], click.Command]:
    """Make a click command of a function that gets settings and options and gives a report."""

    def decorate(function: Callable[..., Report]) -> click.Command:
        @functools.wraps(function)
        def call(as_json: bool, seed: int, quiet: bool, **options: Any) -> int:
            settings = Settings(as_json, seed, quiet)
            report = function(settings, **options)
            if settings.json:
                print(json.dumps(report.data, allow_nan=False, ensure_ascii=False))
            elif report.text and (report.answer or not quiet):
                print(report.text)
            return report.exit_code

        for option in reversed(_COMMON):
            call = option(call)
        return click.command(name, context_settings={"help_option_names": ["-h", "--help"]})(call)

    return decorate


_COMMON = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option(
        "--seed",
        type=click.IntRange(0, SEED_LIMIT),
        default=0,
        show_default=True,
        help="Seed of everything that is drawn: dies, read noise, inputs.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress, and no summary after an act."),
)


def note(text: str, settings: Settings) -> None:
    """Say something on stderr that is not part of the report."""
    if not settings.quiet:
        print(text, file=sys.stderr, flush=True)


class _Floats(_ParamType):
    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.5 or 0.1,0.2,0.3", param, ctx)


class _Size(_ParamType):
    """``128x64``: two whole numbers above zero."""

    name = "RxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})", str(value).strip())
        if match is None or 0 in (int(match[1]), int(match[2])):
            self.fail(f"{value!r} is not two whole numbers such as 128x64", param, ctx)
        return int(match[1]), int(match[2])


class _Duration(_ParamType):
    """``1d``, ``90 s``: a time span in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(s|min|h|d|y)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no time such as 90s, 5min, 12h, 1d or 10y", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


class _Packing(_ParamType):
    """``dense``, ``parallel``, ``single``, or how many read steps a layer may take in an array."""

    name = "packing"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | int:
        if isinstance(value, int) or value in ("dense", "parallel", "single"):
            return cast("str | int", value)
        if not re.fullmatch(r"[1-9][0-9]{0,8}", str(value)):
            text = "dense, parallel, single or a whole number above 0"
            self.fail(f"{value!r} is none of {text}", param, ctx)
        return int(value)


#: Seconds of the units that a time may be given in; a year has 365.25 days.
SECONDS: Mapping[str, float] = {
    "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 31_557_600.0,
}  # fmt: skip

DURATION = _Duration()
FLOATS = _Floats()
PACKING = _Packing()
SIZE = _Size()

_DATA_OPTIONS = (
    click.option("--layout", help="Axes of a stored array: NCHW, NHWC, NHW, NC, NCT, NTC, any."),
    click.option("--scale", type=float, help="Stored values are divided by it first."),
    click.option("--mean", type=FLOATS, help="Subtracted next; one value, or one a channel."),
    click.option("--std", type=FLOATS, help="Divided by last; one value, or one a channel."),
    click.option("--size", type=SIZE, metavar="HxW", help="Images of a folder are resized to it."),
)


def data_options(function: Function) -> Function:
    """The preprocessing options of DATA; the function gets them as ``preprocess``, a dict."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("layout", "scale", "mean", "std", "size")}
        chosen = {name: value for name, value in given.items() if value is not None}
        return function(*args, **options, preprocess=chosen)

    wrapped: Any = call
    for option in reversed(_DATA_OPTIONS):
        wrapped = option(wrapped)
    result: Function = wrapped
    return result


def worker_options(function: Function) -> Function:
    """``--jobs`` and ``--cluster``: who does the work."""
    for option in reversed(_WORKER_OPTIONS):
        function = option(function)
    return function


_WORKER_OPTIONS = (
    click.option(
        "--jobs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Worker processes, no more than there are cores.",
    ),
    click.option(
        "--cluster", metavar="ADDRESS", help="Workers of a Dask scheduler: tcp://host:8786."
    ),
)


def image_argument(function: Function) -> Function:
    """IMAGE, which may be left out where only one stands in the current folder."""
    return click.argument("image", required=False, type=FILE)(function)


def ir_drop_option(function: Function) -> Function:
    """``--ir-drop``; None where it was not given."""
    return click.option(
        "--ir-drop",
        type=click.Choice(["first", "exact"]),
        help="Wires of a simulated chip: to first order [default], or by nodal analysis.",
    )(function)


def explain_option(function: Function) -> Function:
    """``--explain`` of a summary."""
    text = "Say how each number of the summary comes about."
    return click.option("--explain", is_flag=True, help=text)(function)


def partition_options(function: Function) -> Function:
    """``--digital GLOB``, any number of times, and ``--array-only``."""
    digital = click.option(
        "--digital",
        metavar="GLOB",
        multiple=True,
        help="Keep layers whose name fits off the array; may be given again.",
    )
    array_only = click.option(
        "--array-only", is_flag=True, help="Refuse what has weights and cannot go on the array."
    )
    return digital(array_only(function))
