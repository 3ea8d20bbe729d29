"""Rules of levels: what packed codes mean."""

from __future__ import annotations

from collections.abc import Iterator

from pimc.files.memory_map import let_go
from pimc.files.weights.packing import bits_per_cell, unpack_levels
from pimc.image.content import ImageContent

__all__ = ["levels_are_those_of_the_chip"]

#: Cells that are unpacked together.
_CELLS = 1 << 20


def levels_are_those_of_the_chip(image: ImageContent) -> Iterator[str]:
    """No cell holds a level that the chip has not.

    Where all that the bits of a cell can say is a level there is nothing to look at.
    """
    levels, size = image.chip.cell.levels, image.chip.array.rows * image.chip.array.cols
    bits, packed = bits_per_cell(levels), image.packed_levels
    if levels == 1 << bits:
        return
    together = max(1, _CELLS // size)
    for start in range(0, len(packed), together):
        block = packed[start : start + together]
        found = int(unpack_levels(block, bits, size).max(initial=0))
        let_go(packed)
        if found >= levels:
            yield f"tensor levels: holds level {found}, the chip has {levels} levels"
            return
