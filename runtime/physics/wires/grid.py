"""What a whole array answers with, from blocks of cells that grow until they are the array.

Nested dissection of the grid of cells: they become blocks of 8×8, 16×16 … and at last of the whole
array, and what happens inside a block is never looked at again. That takes about 100 n³
operations for n×n cells, nearly all of them in products of matrices; a sparse factorization has to
be applied once a wordline on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.runtime.physics.wires.block import SIDES, Block, Side, ends, joined
from pimc.runtime.physics.wires.tiles import grown
from pimc.work.threads import blas_on_one

Array64 = npt.NDArray[np.float64]

#: Blocks of up to so many cells a side are made all at once, as stacks.
_TILES = (8, 16, 32)
#: Tiles a side of what is made at once, for the sake of memory.
_AT_ONCE = 5


def answer(g: Array64, along_ohm: float, down_ohm: Array64) -> Array64:
    """Currents into the amplifiers for one volt at each driver, in A.

    Args:
        g: (rows, columns) of the cells in S, first column next to the drivers, first row next to
            the amplifiers.
        along_ohm: resistance of a wire of a wordline, from a cell to the next or to the driver.
        down_ohm: (rows,) of the wires of bitlines, from a row's cells to the next towards the
            amplifiers.

    Returns:
        (rows, columns): driver by amplifier.
    """
    grid = _Grid(g, along_ohm, down_ohm)
    rows, columns = grid.tiles
    # Products and inverses come from two libraries, whose threads would wait for each other.
    with blas_on_one():
        whole = grid.block(_Part(0, rows, 0, columns), None)
    return -whole.part("south", "west").T


@dataclass(frozen=True)
class _Part:
    """Tiles of some rows and columns."""

    bottom: int
    top: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        return self.top - self.bottom

    @property
    def columns(self) -> int:
        return self.right - self.left


@dataclass(frozen=True)
class _Tiles:
    """Blocks of one size, all that a part consists of."""

    part: _Part
    blocks: Block

    def between(self, row: int, column: int, answer: Side, given: Side) -> Array64:
        """How one side of a tile answers to what another is given."""
        whole = self.blocks.part(answer, given)
        found: Array64 = whole[row - self.part.bottom, column - self.part.left]
        return found


@dataclass(frozen=True)
class _Grid:
    """The array in tiles, the last ones of rows and columns perhaps not full."""

    g: Array64 = field(repr=False)
    along_ohm: float
    down_ohm: Array64 = field(repr=False)

    @property
    def side(self) -> int:
        """Cells a side of a tile."""
        return next((side for side in _TILES if side >= min(self.g.shape)), _TILES[-1])

    @property
    def tiles(self) -> tuple[int, int]:
        rows, columns = self.g.shape
        return -(-rows // self.side), -(-columns // self.side)

    def block(self, part: _Part, tiles: _Tiles | None) -> Block:
        """A part of the array as one block, with the ends that are of any use."""
        if tiles is None and max(part.rows, part.columns) <= _AT_ONCE:
            tiles = self._tiles(part)
        if tiles is not None and part.rows == part.columns == 1:
            return self._tile(tiles, part.bottom, part.left)
        if part.columns >= part.rows:
            middle = (part.left + part.right + 1) // 2
            near = self.block(_Part(part.bottom, part.top, part.left, middle), tiles)
            far = self.block(_Part(part.bottom, part.top, middle, part.right), tiles)
            return joined(near, far, "east", "west")
        middle = (part.bottom + part.top + 1) // 2
        near = self.block(_Part(part.bottom, middle, part.left, part.right), tiles)
        far = self.block(_Part(middle, part.top, part.left, part.right), tiles)
        return joined(near, far, "north", "south")

    def _tiles(self, part: _Part) -> _Tiles:
        side = self.side
        rows = slice(part.bottom * side, part.top * side)
        columns = slice(part.left * side, part.right * side)
        # Tiles that are not full are filled up with cells that do not conduct.
        g = np.zeros((part.rows * side, part.columns * side))
        cells = self.g[rows, columns]
        g[: cells.shape[0], : cells.shape[1]] = cells
        down_ohm = np.zeros(len(g))
        down_ohm[: cells.shape[0]] = self.down_ohm[rows]
        return _Tiles(part, grown(g, self.along_ohm, down_ohm, side))

    def _tile(self, tiles: _Tiles, row: int, column: int) -> Block:
        """One tile, without what nobody asks for and without cells that only fill it up."""
        rows, columns = self.tiles
        height = min(self.side, self.g.shape[0] - row * self.side)
        width = min(self.side, self.g.shape[1] - column * self.side)
        sizes = {"south": width, "west": height, "east": height, "north": width}
        # Neither current enters where a line ends, nor voltage at an amplifier, and nobody asks
        # for the currents of the drivers.
        unused = {"east": column == columns - 1, "north": row == rows - 1}
        answers = [side for side in SIDES if not (unused | {"west": column == 0}).get(side)]
        given = [side for side in SIDES if not (unused | {"south": row == 0}).get(side)]
        answered = ends({side: sizes[side] for side in answers})
        driven = ends({side: sizes[side] for side in given})
        # Slice by slice: an index of all ends takes five times as long.
        s = np.empty([sum(sizes[side] for side in sides) for sides in (answers, given)])
        for answer_side, to_rows in answered.items():
            for given_side, to_columns in driven.items():
                part = tiles.between(row, column, answer_side, given_side)
                s[to_rows, to_columns] = part[: sizes[answer_side], : sizes[given_side]]
        return Block(s, answered, driven)
