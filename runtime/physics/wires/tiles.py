"""Tiles: blocks of up to 32×32 cells, many at a time."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import numpy.typing as npt

from pimc.runtime.physics.wires.block import SIDES, Block, Side, ends
from pimc.runtime.physics.wires.compiled import grow, join, mirror
from pimc.work.threads import shared_out

Array64 = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

#: Cells a side of tiles that grow cell by cell; larger ones are joined from these.
GROWN = 8
#: Columns of a matrix that are updated at a time.
_LANES = 8


def grown(g: Array64, along_ohm: float, down_ohm: Array64, side: int) -> Block:
    """A stack of tiles: (rows, columns, 4 side, 4 side) in the order of sides.

    Args:
        g: cells in S, a multiple of ``side`` each way, as for
            :func:`~pimc.runtime.physics.wires.grid.answer`.
        along_ohm: resistance of a wire of a wordline.
        down_ohm: of the wires of bitlines, below each row of cells.
        side: cells a side of a tile: :data:`GROWN`, or twice, four times … as many.
    """

    def some(first: int, last: int) -> Block:
        rows = slice(first * side, last * side)
        return _grown(g[rows], along_ohm, down_ohm[rows], side)

    found = shared_out(len(g) // side, numba.get_num_threads(), some)
    return replace(found[0], s=np.concatenate([part.s for part in found]))


def _grown(g: Array64, along_ohm: float, down_ohm: Array64, side: int) -> Block:
    found = _from_cells(g, along_ohm, down_ohm)
    for _ in range((side // GROWN).bit_length() - 1):
        found = _joined(_part(found, 1, 0), _part(found, 1, 1), "east", "west")
        found = _joined(_part(found, 0, 0), _part(found, 0, 1), "north", "south")
    mirror(found.s)
    return found


def _from_cells(g: Array64, along_ohm: float, down_ohm: Array64) -> Block:
    rows, columns = (count // GROWN for count in g.shape)
    cells = np.ascontiguousarray(g.reshape(rows, GROWN, columns, GROWN).swapaxes(1, 2))
    below = np.ascontiguousarray(down_ohm.reshape(rows, GROWN))
    places = ends(dict.fromkeys(SIDES, GROWN))
    at = {side: np.arange(place.start, place.stop) for side, place in places.items()}
    lines = np.stack([at["west"], at["east"]], axis=1).ravel()
    to = np.concatenate([at["south"], at["north"], lines])
    s = np.empty((rows, columns, len(to), len(to)))
    grow(cells, along_ohm, below, to, s, np.zeros((len(to), len(to))), np.zeros((2, len(to))))
    return Block(s, places, places)


def _part(blocks: Block, axis: int, first: int) -> Block:
    """Every other row or column of blocks."""
    which = slice(first, None, 2)
    return Block(blocks.s[which] if axis == 0 else blocks.s[:, which], blocks.answers, blocks.given)


def _joined(near: Block, far: Block, leaving: Side, entering: Side) -> Block:
    """Pairs as one; side by side, near before far."""
    sizes: dict[Side, int] = {}
    to_near, to_far = (np.empty(block.s.shape[-1], np.int64) for block in (near, far))
    kept = 0
    for side in SIDES:
        before = kept
        for block, to, met in ((near, to_near, leaving), (far, to_far, entering)):
            if side != met:
                kept += _put(to, block.answers[side], kept, 1)
        sizes[side] = kept - before
    size = kept
    size += _put(to_near, near.answers[leaving], kept, 2)
    size += _put(to_far, far.answers[entering], kept + 1, 2)
    width = -(-size // _LANES) * _LANES
    s = np.empty((*near.s.shape[:2], kept, kept))
    join(
        near.s, far.s, to_near, to_far, s,
        np.zeros((size, width)), np.zeros((8, width)), np.zeros((8, width)),
    )  # fmt: skip
    return Block(s, ends(sizes), ends(sizes))


def _put(to: Places, place: slice, first: int, step: int) -> int:
    """Say where ends come to lie, and how many they are."""
    count = place.stop - place.start
    to[place] = first + step * np.arange(count)
    return int(count)
