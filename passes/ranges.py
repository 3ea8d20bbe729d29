"""Ranges of the converters: input units a DAC code, current an ADC code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.converters import adc_limits, dac_limits, two_phases
from pimc.mapping import Codebook
from pimc.passes.rounding import Codes, Grid

Array64 = npt.NDArray[np.float64]

#: Candidates for a range, as parts of the largest value seen.
_PARTS = np.geomspace(1.0, 0.1, 30)
#: Values that an input range is judged on, vectors an ADC range is.
_VALUES, _VECTORS = 32768, 256


def input_scale(vectors: Array64, low: int, high: int) -> float:
    """Input units of one DAC code, by least squared error over ``vectors``."""
    some = max(1, _VALUES // vectors.shape[1])
    values = vectors[:: max(1, len(vectors) // some)]
    largest = float(np.abs(vectors).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    steps = _PARTS * largest / high
    errors = [
        float(np.square(np.rint(values / step).clip(low, high) * step - values).sum())
        for step in steps
    ]
    return float(np.float32(steps[int(np.argmin(errors))]))


def synthetic_codes(
    chip: Chip, signed: bool, rows: int, groups: int, rng: np.random.Generator
) -> Array64:
    """Input vectors where no data is at hand: (groups, vectors, rows) DAC codes.

    Normal values, cut at zero where inputs cannot be negative, each vector at full scale as
    dynamic ranges bring it.
    """
    high = dac_limits(chip, signed)[1]
    values = rng.standard_normal((groups, _VECTORS, rows))
    if not signed:
        values = np.maximum(values, 0.0)
    peak = np.abs(values).max(axis=2, keepdims=True)
    return np.rint(values / np.where(peak > 0, peak, 1.0) * high)


def adc_lsb_us(
    chip: Chip,
    book: Codebook,
    codes: Codes,
    grid: Grid,
    vectors: Array64,
    signed: bool,
    rng: np.random.Generator,
    margin: float = 1.0,
) -> float:
    """Current of one ADC code, µS times DAC code: one range for the whole layer.

    The range is that of least squared error of the layer's outputs over the currents that
    ``vectors`` (groups, vectors, rows; DAC codes) cause in cells written with the chip's own
    imprecision.
    """
    if two_phases(chip, signed):
        vectors = np.concatenate([vectors.clip(0), (-vectors).clip(0)], axis=1)
    groups, rows, cols = codes.shape
    height = chip.array.rows
    levels_us = np.asarray(chip.cell.g_levels_us)
    cells = levels_us[book.levels[codes]]
    cells = cells + rng.standard_normal(cells.shape) * chip.cell.sigma.sigma_us(cells)
    cells = (cells - book.reference_us).reshape(groups, rows, cols * book.planes)
    some = vectors[:, :: max(1, vectors.shape[1] // _VECTORS)]
    currents = np.concatenate(
        [some[:, :, k : k + height] @ cells[:, k : k + height] for k in range(0, rows, height)],
        axis=1,
    )
    weight = np.repeat(grid.scale**2, book.planes, axis=1)[:, None, :]
    weight = weight * np.tile(book.coefficients**2, cols)
    low, high = adc_limits(chip, signed)
    largest = float(np.abs(currents).max(initial=0.0)) * margin
    if largest == 0.0:
        return 1.0
    steps = _PARTS * largest / high
    if margin > 1.0:
        return float(np.float32(steps[0]))
    errors = [
        float((weight * (np.clip(np.rint(currents / s), low, high) * s - currents) ** 2).sum())
        for s in steps
    ]
    return float(np.float32(steps[int(np.argmin(errors))]))
