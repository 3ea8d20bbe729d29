"""Faults: cells that no write moves, and lines that carry no current."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.runtime.physics import philox
from pimc.runtime.physics.streams import Stream


class Stuck(IntEnum):
    """What holds a cell."""

    FREE = 0
    AT_G_MIN = 1
    AT_G_MAX = 2
    #: On a dead wordline or bitline: no current at all.
    OPEN = 3


def draw_faults(
    chip: Chip, seed: int, cell: npt.NDArray[np.int64], line: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """What holds each cell (:class:`Stuck`), and which wordlines are dead.

    Args:
        chip: the design, with its rates.
        seed: of the die.
        cell: (arrays, rows, cols) numbers of the cells.
        line: (arrays, rows) numbers of their wordlines.
    """
    faults = chip.faults
    sticks = max(faults.stuck_gmax_rate, faults.stuck_gmin_rate) > 0
    draw = philox.uniform(seed, Stream.STUCK, cell) if sticks else np.ones(cell.shape)
    at_max = draw < faults.stuck_gmax_rate
    at_min = ~at_max & (draw < faults.stuck_gmax_rate + faults.stuck_gmin_rate)
    rows, cols = cell.shape[1:]
    column = line[:, :1] // rows * cols + np.arange(cols)
    dead_row = philox.uniform(seed, Stream.DEAD_ROW, line) < faults.dead_row_rate
    dead_col = philox.uniform(seed, Stream.DEAD_COL, column) < faults.dead_col_rate
    dead = dead_row[:, :, None] | dead_col[:, None, :]
    kind = np.select([dead, at_max, at_min], [Stuck.OPEN, Stuck.AT_G_MAX, Stuck.AT_G_MIN], 0)
    return kind.astype(np.uint8), dead_row


def with_faults(chip: Chip, stuck: npt.NDArray[np.uint8], g_us: npt.ArrayLike) -> npt.NDArray[Any]:
    """Conductances of cells that would hold ``g_us`` if nothing else held them."""
    return np.choose(stuck, [g_us, chip.cell.g_min_us, chip.cell.g_max_us, 0.0])
