"""The mapping of a layer: as users write it, and what a chip asks of it.

A mapping is written as the chip file's ``mapping.kind`` with what else is to be said behind a
colon: ``offset``; ``differential`` or ``differential:rows``; ``sliced:3`` for three slices,
``sliced:2:8`` for two that are 8 apart. What is not said is as in the chip file.
"""

from __future__ import annotations

import re

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.sections import LayerMapping
from pimc.errors import ChipError, UsageError

__all__ = ["own_mapping", "parse_mapping", "require_mapping", "spelled", "with_mapping"]

_HINT = "details follow a colon: differential:rows, sliced:3, sliced:2:8"
#: Details that each kind takes behind its name, in order.
_DETAILS = {"offset": (), "differential": ("pair",), "sliced": ("slices", "slice_ratio")}


def own_mapping(mapping: LayerMapping) -> LayerMapping:
    """The mapping alone, what its kind does not use left as it is by default."""
    kept = {name: getattr(mapping, name) for name in _DETAILS[mapping.kind]}
    return LayerMapping(kind=mapping.kind, **kept)


def spelled(mapping: LayerMapping) -> str:
    """The mapping as :func:`parse_mapping` reads it."""
    plain = own_mapping(mapping)
    details = [getattr(plain, name) for name in _DETAILS[plain.kind]]
    if plain.kind == "differential" and plain.pair == "columns":
        details = []
    return ":".join([plain.kind, *(str(each) for each in details if each is not None)])


def parse_mapping(text: str, chip: Chip | None = None) -> LayerMapping:
    """The mapping that a user wrote.

    Args:
        chip: says what ``text`` does not.

    Raises:
        UsageError: it is not understood.
        ChipError: a number is out of its range.
    """
    kind, *details = text.split(":")
    if kind not in _DETAILS or len(details) > len(_DETAILS[kind]):
        raise _unknown(text)
    base = LayerMapping() if chip is None else chip.mapping
    own = {name: getattr(base, name) for name in _DETAILS[kind]}
    for name, value in zip(_DETAILS[kind], details, strict=False):
        if name != "pair" and not re.fullmatch("[0-9]{1,9}", value):
            raise _unknown(text)
        own[name] = value if name == "pair" else int(value)
    return LayerMapping(kind=kind, **own)


def _unknown(text: str) -> UsageError:
    return UsageError(f"{text!r} is not one of {', '.join(_DETAILS)}", "mapping", _HINT)


def with_mapping(chip: Chip, text: str) -> Chip:
    """A copy of a chip whose own mapping is what a user wrote.

    Raises:
        UsageError, ChipError: as of :func:`parse_mapping`, or the chip cannot have it.
    """
    mapping = parse_mapping(text, chip)
    names = ("kind", "pair", *_DETAILS[mapping.kind])
    return chip.with_(**{f"mapping.{name}": getattr(mapping, name) for name in names})


def require_mapping(chip: Chip, mapping: LayerMapping, where: str) -> None:
    """Make sure that a chip can hold a layer in this mapping.

    Args:
        where: the layer, for the message.

    Raises:
        ChipError: it cannot.
    """
    if mapping.pair == "rows" and chip.mapping.pair != "rows":
        if not chip.dac.signed:
            raise ChipError(
                "pair rows needs dac.signed: the second wordline gets the inverted input", where
            )
        if chip.mapping.pedestal != "reference":
            raise ChipError(
                "pair rows needs converters that take currents of both signs",
                where,
                'set mapping.pedestal = "reference", or mapping.pair = "rows" for the whole chip',
            )
    try:
        codebook(chip, mapping)
    except ChipError as cause:
        raise ChipError(cause.message, f"{where}, {cause.where}", cause.hint) from cause
