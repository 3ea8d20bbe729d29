"""What a whole array answers with, from blocks of cells that grow until they are the array.

Nested dissection of the grid of cells: single cells become blocks of 2×2, 4×4 … and at last of the
whole array, and what happens inside a block is never looked at again. That takes about 100 n³
operations for n×n cells, nearly all of them in products of matrices; a sparse factorization has to
be applied once a wordline on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.runtime.physics.wires.block import SIDES, Block, ends, joined
from pimc.runtime.physics.wires.stacks import stack_innermost

Array64 = npt.NDArray[np.float64]

#: Blocks of up to so many cells a side are made all at once, as stacks.
_TILES = (8, 16, 32)
#: Tiles a side of what is made at once, for the sake of memory.
_AT_ONCE = 5
#: Cells a side from which blocks of a stack are matrices in a piece.
_IN_A_PIECE = 4


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

    def at(self, row: int, column: int) -> Array64:
        found: Array64 = self.blocks.s[row - self.part.bottom, column - self.part.left]
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
        return _Tiles(part, _grown(g, self.along_ohm, down_ohm, side))

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
        places = tiles.blocks.answers
        kept = [
            np.concatenate([np.arange(sizes[side]) + places[side].start for side in sides])
            for sides in (answers, given)
        ]
        return Block(
            tiles.at(row, column)[np.ix_(*kept)],
            ends({side: sizes[side] for side in answers}),
            ends({side: sizes[side] for side in given}),
        )


def _grown(g: Array64, along_ohm: float, down_ohm: Array64, side: int) -> Block:
    """(rows/side, columns/side) blocks of side×side cells, from blocks of a single one."""
    steps = side.bit_length() - 1
    blocks = _cells(
        _by_pairs(g, steps),
        along_ohm,
        _by_pairs(np.broadcast_to(down_ohm[:, None], g.shape), steps),
    )
    for step in range(steps):
        if 1 << step == _IN_A_PIECE:
            blocks = Block(np.ascontiguousarray(blocks.s), blocks.answers, blocks.given)
        blocks = joined(*_pair(blocks), "east", "west")
        blocks = joined(*_pair(blocks), "north", "south")
    return blocks


def _by_pairs(cells: Array64, steps: int) -> Array64:
    """(2 columns, 2 rows, 2 pairs of columns, …, tiles of rows, of columns): pairs come first."""
    rows, columns = (count >> steps for count in cells.shape)
    digits = cells.reshape(rows, *[2] * steps, columns, *[2] * steps)
    first = [axis for step in range(steps) for axis in (2 * steps + 1 - step, steps - step)]
    return np.ascontiguousarray(digits.transpose(*first, 0, steps + 1))


def _pair(blocks: Block) -> tuple[Block, Block]:
    near, far = (Block(half, blocks.answers, blocks.given) for half in blocks.s)
    return near, far


def _cells(g: Array64, along_ohm: float, down_ohm: Array64) -> Block:
    """Cells as blocks of their own: two wires, and a cell between."""
    places = ends(dict.fromkeys(SIDES, 1))
    # With the current i = k (V_west - V_south + along J_east - down J_north) through the cell.
    k = g / (1.0 + g * (along_ohm + down_ohm))
    drives = (-1.0, 1.0, along_ohm, -down_ohm)
    s = stack_innermost(g.shape, 4, 4)
    for row, column in np.ndindex(4, 4):
        s[..., row, column] = k * drives[row] * drives[column]
    for line, far, ohm in ((0, 3, down_ohm), (1, 2, along_ohm)):
        s[..., line, far] -= 1.0
        s[..., far, line] -= 1.0
        s[..., far, far] -= ohm
    return Block(s, places, places)
