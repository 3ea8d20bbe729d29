"""Tile: every layer's matrix into blocks no larger than one array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimc.chip.codebook import Codebook, codebooks
from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.plan.records import Plan, Tile


@dataclass(frozen=True)
class Tiling:
    """Cut every layer's matrix into blocks no larger than one array.

    The cells of one weight stay in one block, or, where the mapping lays them in different
    arrays, at the same place of blocks of the same size. Blocks are full but for the last of
    each direction, which packs better than equal blocks.
    """

    name: ClassVar[str] = "tile"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.tiles``.

        Raises:
            ChipError: an array cannot hold one weight.
        """
        books = codebooks(chip, (layer.mapping for layer in plan.layers))
        tiles = [
            Tile(number, group, row, rows, col, cols)
            for number, (layer, book) in enumerate(zip(plan.layers, books, strict=True))
            for height, width in [block_size(chip, book)]
            for group in range(layer.groups)
            for row, rows in _cuts(layer.rows * book.row_planes, height)
            for col, cols in _columns(layer.cols, book, width)
        ]
        return replace(plan, stage=self.name, tiles=tuple(tiles))


def _cuts(length: int, block: int) -> list[tuple[int, int]]:
    """Start and size of blocks that cover ``length``."""
    return [(start, min(block, length - start)) for start in range(0, length, block)]


def _columns(cols: int, book: Codebook, width: int) -> list[tuple[int, int]]:
    """First bitline and bitlines of the tiles side by side; planes apart are cut apart."""
    if book.layout != "arrays":
        return _cuts(cols * book.col_planes, width)
    return [
        (plane * cols + col, size)
        for plane in range(book.planes)
        for col, size in _cuts(cols, width)
    ]


def block_size(chip: Chip, book: Codebook) -> tuple[int, int]:
    """Wordlines and bitlines of a full block of a layer whose weights are laid as ``book`` says.

    Raises:
        ChipError: an array cannot hold one weight.
    """
    together = 1 if book.layout == "arrays" else book.col_planes
    height = chip.array.driven_rows // book.row_planes * book.row_planes
    width = chip.array.cols // together * together
    if width == 0:
        raise ChipError(
            f"one weight takes {together} cells of a row, an array has {chip.array.cols} columns",
            where="array.cols",
            hint="use wider arrays or another mapping",
        )
    if height == 0:
        raise ChipError(
            f"one weight takes {book.row_planes} cells of a column, "
            f"a read drives {chip.array.driven_rows} row",
            where="array.active_rows" if chip.array.active_rows else "array.rows",
            hint="use higher arrays or another mapping",
        )
    return height, width
