"""Tile: every layer's matrix into blocks no larger than one array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimc.chip import Chip
from pimc.errors import ChipError
from pimc.mapping import codebook
from pimc.plan import Plan, Tile


@dataclass(frozen=True)
class Tiling:
    """Cut every layer's matrix into blocks no larger than one array.

    The cells of one weight stay in one block. Blocks are full but for the last of each
    direction, which packs better than equal blocks.
    """

    name: ClassVar[str] = "tile"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.tiles``.

        Raises:
            ChipError: the arrays are too narrow for one weight.
        """
        height, width = block_size(chip)
        planes = codebook(chip).planes
        tiles = [
            Tile(
                number,
                group,
                row,
                min(height, layer.rows - row),
                col,
                min(width, layer.cols * planes - col),
            )
            for number, layer in enumerate(plan.layers)
            for group in range(layer.groups)
            for row in range(0, layer.rows, height)
            for col in range(0, layer.cols * planes, width)
        ]
        return replace(plan, stage=self.name, tiles=tuple(tiles))


def block_size(chip: Chip) -> tuple[int, int]:
    """Rows and physical columns of a full block.

    Raises:
        ChipError: the arrays are too narrow for one weight.
    """
    planes = codebook(chip).planes
    width = chip.array.cols // planes * planes
    if width == 0:
        raise ChipError(
            f"one weight takes {planes} cells of a row, an array has {chip.array.cols} columns",
            where="array.cols",
            hint="use wider arrays or another mapping",
        )
    return chip.array.rows, width
