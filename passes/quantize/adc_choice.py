"""How the ADC's range of a layer is chosen, where not as the chip file says.

It is written as one or two words with a comma between them: ``layer`` or ``column``, what shares a
range; ``mse`` or ``percentile:P``, how it is found (``percentile:100`` clips nothing).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pimc.chip.design import Chip
from pimc.errors import ChipError, UsageError
from pimc.files.strict import did_you_mean
from pimc.plan.records import Plan

__all__ = ["chips_of", "parse_range", "with_ranges"]

_HINT = "write layer, column, mse or percentile:99.9, or two of them as in column,mse"


def parse_range(text: str) -> dict[str, Any]:
    """The keys of the chip that a user's words stand for.

    Raises:
        UsageError: they are not understood.
    """
    found: dict[str, Any] = {}
    for word in text.split(","):
        name, _, detail = word.partition(":")
        if word in ("layer", "column"):
            keys: dict[str, Any] = {"adc.range": word}
        elif word in ("mse", "percentile"):
            keys = {"adc.range_method": word}
        elif name == "percentile":
            keys = {"adc.range_method": name, "adc.percentile": _number(detail, text)}
        else:
            raise _unknown(text)
        if keys.keys() & found.keys():
            raise _unknown(text)
        found |= keys
    return found


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 50 <= value <= 100:
        raise UsageError(f"{whole!r}: a percentile is from 50 to 100", "ADC range", _HINT)
    return value


def _unknown(text: str) -> UsageError:
    return UsageError(f"{text!r} is not understood", "ADC range", _HINT)


def with_ranges(chip: Chip, asked: Iterable[tuple[str, str]]) -> Chip:
    """A copy of a chip whose layers have their ranges as users said of all of them.

    Args:
        asked: globs and words; only those without a glob count.

    Raises:
        UsageError: one is not understood.
    """
    keys: dict[str, Any] = {}
    for glob, text in asked:
        keys |= {} if glob else parse_range(text)
    return chip.with_(**keys) if keys else chip


def chips_of(plan: Plan, asked: Mapping[str, str], chip: Chip) -> dict[str, Chip]:
    """For each layer by name the chip as it is where this layer's range is chosen.

    Args:
        asked: by glob of layer, output or node names; of several that fit the later one counts in
            what it says.

    Raises:
        UsageError: a choice is not understood, or is of no layer.
        ChipError: the chip cannot have it.
    """
    keys: dict[str, dict[str, Any]] = {layer.name: {} for layer in plan.layers}
    for glob, text in asked.items():
        chosen = parse_range(text)
        fitting = [
            layer.name
            for layer in plan.layers
            if any(
                fnmatchcase(label, glob)
                for label in (layer.name, layer.output, _node(plan, layer.name))
            )
        ]
        if not fitting:
            raise UsageError(
                f"no layer on the array has this name{did_you_mean(glob, list(keys))}",
                where=f"adc-range {glob}={text}",
                hint="`pimc check` lists the layers",
            )
        _require(chip, chosen, f"adc-range {glob}={text}")
        for name in fitting:
            keys[name] |= chosen
    known: dict[str, Chip] = {}
    return {name: known.setdefault(repr(own), chip.with_(**own) if own else chip)
            for name, own in keys.items()}  # fmt: skip


def _require(chip: Chip, chosen: Mapping[str, Any], where: str) -> None:
    if chip.adc.range == "fixed":
        raise ChipError(
            "the chip's ADCs have one fixed range", where, "leave it out, or change adc.range"
        )
    if chosen.get("adc.range") == "column" and chip.adc.range != "column":
        raise ChipError(
            "the columns of a layer share the range of this chip's ADCs", where,
            'set adc.range = "column" if each column can have its own',
        )  # fmt: skip


def _node(plan: Plan, name: str) -> str:
    return str(plan.provenance.get(name, {}).get("name", ""))
