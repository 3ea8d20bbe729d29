"""The greedy choice of writes, a column at a time: compiled loops over its rows.

Columns of a layer share H and nothing else, and few rows of a column are written in a sweep. So H r
follows each write by one row of H, and a cell whose best move, anywhere between and beyond the
levels, gains less than is asked for is passed over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.work.jit import Compiler

__all__ = ["Columns", "Found", "sweep"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

compiled = Compiler(__package__ or "").compiled

#: What a bound may be short of by rounding.
_SURELY = 1.0 - 1e-9


class Columns(NamedTuple):
    """The cells of a layer, those of a column together.

    Attributes:
        moments: (groups, rows, rows) H.
        pull: (groups, cols, rows) H r; follows what is taken.
        held_us, spread: (groups, cols, rows, planes) estimates and their variances.
        open_: the same shape: may be written; follows what is taken.
        barred: the same shape: the level that a cell must not be written to, −1 where any will do.
        unit: (groups, cols, planes) weight a µS.
        worth: (groups, cols) what an output's error counts for.
        levels_us, middles_us, landing: the levels, the middles between them, and the variance with
            which each is met.
    """

    moments: Array64
    pull: Array64
    held_us: Array64
    spread: Array64
    open_: npt.NDArray[np.bool_]
    barred: npt.NDArray[np.int16]
    unit: Array64
    worth: Array64
    levels_us: Array64
    middles_us: Array64
    landing: Array64


class Found(NamedTuple):
    """Room for the writes of one sweep, one a weight at most.

    Attributes:
        gain: of each.
        place: number of its cell among (groups, cols, rows, planes).
        level: that it is written to.
    """

    gain: Array64
    place: Ints
    level: Ints

    @staticmethod
    def of(columns: Columns) -> Found:
        """Enough room for a layer."""
        size = columns.pull.size
        return Found(np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64))


@compiled
def _nearest(wish: float, middles: Array64) -> int:
    """Number of the level nearest to a wish; of two the lower."""
    low, high = 0, len(middles)
    while low < high:
        middle = (low + high) // 2
        if middles[middle] < wish:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def sweep(columns: Columns, least: float, found: Found) -> int:
    """Row by row of every column, take the best write of a weight if it gains at least so much.

    Returns:
        How many were found.
    """
    groups, cols, rows, planes = columns.held_us.shape
    taken = 0
    for g in range(groups):
        for n in range(cols):
            pull, worth = columns.pull[g, n], columns.worth[g, n]
            for r in range(rows):
                weight = columns.moments[g, r, r]
                safe = weight if weight > 0 else 1.0
                reach = pull[r] * pull[r] / safe
                best, plane, level, step = 0.0, -1, 0, 0.0
                for p in range(planes):
                    unit = columns.unit[g, n, p]
                    spread = columns.spread[g, n, r, p]
                    if not columns.open_[g, n, r, p]:
                        continue
                    if weight > 0 and (
                        (reach + unit * unit * spread * weight) * worth < least * _SURELY
                    ):
                        continue
                    held = columns.held_us[g, n, r, p]
                    wished = _nearest(held - pull[r] / safe / unit, columns.middles_us)
                    if wished == columns.barred[g, n, r, p]:
                        continue
                    move = unit * (columns.levels_us[wished] - held)
                    landing = unit * unit * (columns.landing[wished] - spread)
                    gain = -(2 * move * pull[r] + (move * move + landing) * weight) * worth
                    if gain > best:
                        best, plane, level, step = gain, p, wished, move
                if plane < 0 or best < least:
                    continue
                columns.open_[g, n, r, plane] = False
                found.gain[taken] = best
                found.place[taken] = ((g * cols + n) * rows + r) * planes + plane
                found.level[taken] = level
                taken += 1
                for k in range(rows):
                    pull[k] += columns.moments[g, r, k] * step
    return taken
