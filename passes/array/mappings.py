"""Which mapping each layer gets, of those that a user asked for by globs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pimc.chip.layer_mapping import parse_mapping, require_mapping
from pimc.errors import UsageError
from pimc.files.strict import did_you_mean

if TYPE_CHECKING:
    from pimc.chip.design import Chip
    from pimc.chip.sections import LayerMapping

__all__ = ["mappings_of"]


def mappings_of(
    layers: Mapping[str, Iterable[Sequence[str]]],
    asked: Mapping[str, str],
    chip: Chip | None,
) -> dict[str, LayerMapping | None]:
    """The mapping of every layer; None where it is the chip's.

    Args:
        layers: for each layer what names it: its own name and others, of each of its uses.
        asked: by glob, the mapping as it is written; of several that fit the last counts.
        chip: what is asked whether it can hold a layer in its mapping, and what it says of what
            is not written; nothing is asked without one.

    Raises:
        UsageError: a mapping is not understood, or is of no layer.
        ChipError: the chip cannot hold a layer in its mapping.
    """
    found: dict[str, LayerMapping | None] = dict.fromkeys(layers)
    for glob, text in asked.items():
        mapping = parse_mapping(text, chip)
        fitting = [
            name
            for name, uses in layers.items()
            if any(fnmatchcase(label, glob) for labels in uses for label in labels)
        ]
        if not fitting:
            raise UsageError(
                f"no layer on the array has this name{did_you_mean(glob, layers)}",
                where=f"mapping {glob}={text}",
                hint="`pimc check` lists the layers",
            )
        found |= dict.fromkeys(fitting, mapping)
    if chip is not None:
        for name, chosen in found.items():
            if chosen is not None:
                require_mapping(chip, chosen, f"layer {name}")
    return found
