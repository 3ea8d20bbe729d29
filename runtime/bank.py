"""The bank: what the cells of one region conduct and fluctuate by, when it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.errors import DeviceError
from pimc.runtime.device import Region
from pimc.runtime.die import Die, Stuck

Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bank:
    """What the simulated arrays add up for one region.

    Attributes:
        g_us: (blocks, rows, columns) current in µS a unit of input, the reference column's taken
            off where the chip has one.
        variance: (blocks, rows, columns) variance of one read a unit of squared input, µS²; None
            without read noise.
        reference_variance: (blocks, rows, reads) the same of the reference columns: columns read
            together share one; None without read noise or reference.
        read_of_column: (blocks, columns) which of its block's reads a column belongs to.
        reads: array reads that one input vector takes, of all blocks together.
    """

    g_us: Array32 = field(repr=False)
    variance: Array32 | None = field(repr=False)
    reference_variance: Array32 | None = field(repr=False)
    read_of_column: npt.NDArray[np.int64] = field(repr=False)
    reads: int


def bank_of(die: Die, region: Region) -> Bank:
    """The bank of a region of a die that is attached to its chip.

    Raises:
        DeviceError: the region has cells that the die has not.
    """
    chip, state, cells = die.attached(), die.cells, region.cells
    if cells.max(initial=-1) >= state.level.size:
        raise DeviceError("the die has fewer arrays than the image uses", where=die.name)
    present = cells >= 0
    g = np.where(present, die.held_us(cells), 0.0)
    line = np.where(present, cells // chip.array.cols, 0)
    reference = np.where(present, die.reference_held_us(line), 0.0)
    # Where a line is dead no current flows, and none fluctuates.
    conducting = present & (state.stuck.reshape(-1)[cells] != Stuck.OPEN)
    subtract = chip.mapping.pedestal == "reference"
    noise = chip.read_noise
    noisy = not die.perfect and (noise.relative > 0 or noise.sigma_us > 0)
    which = read_of_column(cells, chip)
    return Bank(
        g_us=_single(g - reference if subtract else g),
        variance=_single(_variance(chip, g, conducting)) if noisy else None,
        reference_variance=(
            _single(_one_column_a_read(_variance(chip, reference, reference > 0), which))
            if noisy and subtract
            else None
        ),
        read_of_column=which,
        reads=int((which.max(axis=1) + 1).sum()),
    )


def read_of_column(cells: npt.NDArray[np.int64], chip: Chip) -> npt.NDArray[np.int64]:
    """(blocks, columns): which of its block's reads a column belongs to, counted from 0.

    Columns are read together where they lie in one array, on the same wordlines.
    """
    lines = cells // chip.array.cols
    changes = (np.diff(lines, axis=2, prepend=lines[:, :, :1]) != 0).any(axis=1)
    which: npt.NDArray[np.int64] = changes.cumsum(axis=1)
    return which


def _variance(
    chip: Chip, g: npt.NDArray[np.floating], present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.floating]:
    noise = chip.read_noise
    return np.where(present, (noise.relative * g) ** 2 + noise.sigma_us**2, 0.0)


def _single(values: npt.NDArray[np.floating]) -> Array32:
    return np.ascontiguousarray(values, dtype=np.float32)


def _one_column_a_read(
    values: npt.NDArray[np.floating], which: npt.NDArray[np.int64]
) -> npt.NDArray[np.floating]:
    """(blocks, rows, columns) → (blocks, rows, reads of the block), one column of each."""
    count = int(which.max(initial=0)) + 1
    first = np.stack([(which == k).argmax(axis=1) for k in range(count)], axis=1)
    return np.take_along_axis(values, first[:, None, :], axis=2)
