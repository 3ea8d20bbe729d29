"""Device-to-device variation: what sets a die's cells apart whatever is written into them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.runtime.physics import philox
from pimc.runtime.physics.streams import Stream

Array64 = npt.NDArray[np.float64]


def cell_factor(chip: Chip, seed: int, cells: npt.NDArray[np.int64]) -> Array64 | float:
    """What each cell's conductance is multiplied by: 1 + δ_cell + δ_row + δ_column.

    The three shares are normal and independent, with the standard deviations of the chip's
    ``[variation]``; cells of one wordline have δ_row in common, those of one bitline δ_column.

    Args:
        chip: the design.
        seed: of the die.
        cells: addresses, any shape.

    Returns:
        Factors of the same shape, 0 or more; 1.0 for a chip without variation.
    """
    cols, rows = chip.array.cols, chip.array.rows
    line, column = cells // cols, cells // (rows * cols) * cols + cells % cols
    return _factor(
        seed,
        (chip.variation.cell_relative, Stream.VARIATION_CELL, cells),
        (chip.variation.row_relative, Stream.VARIATION_ROW, line),
        (chip.variation.col_relative, Stream.VARIATION_COL, column),
    )


def reference_factor(chip: Chip, seed: int, lines: npt.NDArray[np.int64]) -> Array64 | float:
    """The same of the reference columns' cells, by number of their wordline.

    A reference cell shares its wordline's δ_row; its column is its own.
    """
    return _factor(
        seed,
        (chip.variation.cell_relative, Stream.VARIATION_REFERENCE_CELL, lines),
        (chip.variation.row_relative, Stream.VARIATION_ROW, lines),
        (chip.variation.col_relative, Stream.VARIATION_REFERENCE_COL, lines // chip.array.rows),
    )


def _factor(seed: int, *shares: tuple[float, Stream, npt.NDArray[np.int64]]) -> Array64 | float:
    drawn = [
        relative * philox.normal(seed, stream, numbers)
        for relative, stream, numbers in shares
        if relative > 0
    ]
    return np.maximum(1.0 + np.sum(drawn, axis=0), 0.0) if drawn else 1.0
