"""A grid over the parameters of a chip: what is swept, and the chip at each of its points."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pimc.chip.design import Chip
from pimc.errors import ChipError, UsageError
from pimc.files.strict import Key, described, did_you_mean

__all__ = ["Axis", "Point", "Value", "as_text", "chip_at", "parse_axis", "parse_value", "points"]

Value = bool | int | float | str
#: The value of each parameter, in the order in which they were given.
Point = Mapping[str, Value]


@dataclass(frozen=True)
class Axis:
    """One parameter and the values it takes."""

    name: str
    values: tuple[Value, ...]


def parse_axis(text: str) -> Axis:
    """What ``NAME=VALUE,VALUE,…`` means.

    Raises:
        UsageError: no such form, an unknown parameter, or a value given twice.
    """
    name, equals, listed = text.partition("=")
    name, texts = name.strip(), [part.strip() for part in listed.split(",")]
    if not equals or not name or not all(texts):
        raise UsageError(
            "is not NAME=VALUE,VALUE,…", where=repr(text), hint="for example levels=8,16"
        )
    keys = dict(_keys(Chip))
    known = [*_SHORT, *(key for key, info in keys.items() if info.named is None)]
    # What such tables hold is known to those who read the chip file.
    named = tuple(f"{key}." for key, info in keys.items() if info.named is not None)
    if name not in known and not name.startswith(named):
        raise UsageError(
            f"no such parameter{did_you_mean(name, known)}",
            where=name,
            hint=f"there are {', '.join(_SHORT)} and the keys of a chip file, such as adc.bits",
        )
    values = tuple(map(parse_value, texts))
    if len(set(map(as_text, values))) < len(values):
        raise UsageError("a value is given twice", where=text, hint="give each once")
    return Axis(name, values)


def points(base: Chip, axes: Sequence[Axis]) -> list[Point]:
    """All combinations of the values, those of the last axis fastest.

    Raises:
        UsageError: no axis, or two of the same parameter.
        ChipError: a value that makes no chip, whatever it is combined with.
    """
    names = [axis.name for axis in axes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise UsageError(
            f"{twice[0]} is given twice" if twice else "no parameter is given",
            hint="give each parameter once, with all its values",
        )
    found: list[Point] = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    failures = [_failure(base, point) for point in found]
    for axis in axes:
        for value in axis.values:
            # Compared as text: True equals 1, and 1 equals 1.0.
            mine = [
                failure
                for point, failure in zip(found, failures, strict=True)
                if as_text(point[axis.name]) == as_text(value)
            ]
            if mine[0] is not None and all(mine):
                raise mine[0]
    return found


def chip_at(base: Chip, point: Point) -> Chip:
    """The chip at a point.

    Raises:
        ChipError: the values make no chip.
    """
    for name, value in point.items():
        if name in _SHORT:
            base = _SHORT[name](base, value)
    # All at once: keys that need each other may come in any order.
    return base.with_(**{name: value for name, value in point.items() if name not in _SHORT})


def parse_value(text: str) -> Value:
    """A truth value, a whole number, a number or else the text itself."""
    if text in _TRUTH:
        return _TRUTH[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def as_text(value: Value) -> str:
    """The text that :func:`parse_value` reads as ``value``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _with_array(chip: Chip, value: Value) -> Chip:
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", str(value))
    if match is None:
        raise ChipError(
            f"{value} is not two whole numbers such as 128x64", where="array", hint="rows x columns"
        )
    return chip.with_array(int(match[1]), int(match[2]))


def _with_levels(chip: Chip, value: Value) -> Chip:
    # Not a whole number: for the chip to refuse.
    return chip.with_levels(value) if type(value) is int else chip.with_(**{"cell.levels": value})


def _with_sigma(chip: Chip, value: Value) -> Chip:
    return chip.with_(**{"cell.sigma": {"kind": "constant", "fraction_of_range": value}})


_TRUTH: Mapping[str, bool] = {"true": True, "false": False}
#: Short names, and what they change.
_SHORT: Mapping[str, Callable[[Chip, Value], Chip]] = {
    "levels": _with_levels,
    "sigma": _with_sigma,
    "array": _with_array,
    "mapping": lambda chip, value: chip.with_mapping(as_text(value)),
}


def _keys(table: type, prefix: str = "") -> Iterator[tuple[str, Key]]:
    for item, info in described(table):
        if info.table is None:
            yield f"{prefix}{item.name}", info
        else:
            yield from _keys(info.table, f"{prefix}{item.name}.")


def _failure(base: Chip, point: Point) -> ChipError | None:
    try:
        chip_at(base, point)
    except ChipError as error:
        return error
    return None
