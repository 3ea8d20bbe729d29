"""Ranges of the converters: input units a DAC code, current an ADC code."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, on_lines
from pimc.chip.converters import (
    adc_limits,
    bit_planes,
    dac_limits,
    fixed_lsb_us,
    plane_weights,
    two_phases,
)
from pimc.chip.design import Chip
from pimc.passes.layout.tile import block_size
from pimc.passes.quantize.rounding import Codes, Grid

Array64 = npt.NDArray[np.float64]

#: Candidates for a range, as parts of the largest value seen.
_PARTS = np.geomspace(1.0, 0.1, 30)
#: Values that an input range is judged on, vectors an ADC range is.
_VALUES, _VECTORS = 32768, 256
#: Bit planes of so many vectors together, as neighbouring planes tell much the same.
_PLANE_VECTORS = 128
#: Specimens of the write errors that a column's own range is fitted to, so that it does not
#: depend on the errors of one.
_SPECIMENS = 4


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
    chip: Chip,
    signed: bool,
    rows: int,
    groups: int,
    rng: np.random.Generator,
    count: int = _VECTORS,
) -> Array64:
    """Input vectors where no data is at hand: (groups, vectors, rows) DAC codes.

    Normal values, cut at zero where inputs cannot be negative, each vector at full scale as
    dynamic ranges bring it.
    """
    high = dac_limits(chip, signed)[1]
    values = rng.standard_normal((groups, count, rows))
    if not signed:
        values = np.maximum(values, 0.0)
    peak = np.abs(values).max(axis=2, keepdims=True)
    return np.rint(values / np.where(peak > 0, peak, 1.0) * high)


@dataclass(frozen=True)
class AdcRange:
    """Current of one ADC code, µS times DAC code.

    Attributes:
        lsb_us: of the layer; the largest where every column has its own.
        column_lsb_us: (groups, bitlines) of each column, or None.
    """

    lsb_us: float
    column_lsb_us: npt.NDArray[np.float32] | None = field(default=None, repr=False)


def adc_range(
    chip: Chip,
    book: Codebook,
    codes: Codes,
    grid: Grid,
    vectors: Array64,
    signed: bool,
    rng: np.random.Generator,
    margin: float = 1.0,
) -> AdcRange:
    """The ADC's range: fixed by the chip, or fitted to what the ADC sees of ``vectors``.

    It sees the currents that ``vectors`` (groups, vectors, rows; DAC codes) cause in cells
    written with the chip's own imprecision; of a bit-serial input those of every bit plane.
    The range is that of least squared error of the layer's outputs, or the percentile of the
    currents that the chip asks for.

    Args:
        margin: above 1, the range is so many times the largest current instead.
    """
    fixed = fixed_lsb_us(chip, signed)
    if fixed is not None:
        return AdcRange(fixed)
    by_column = chip.adc.range == "column"
    currents, weight = _currents(chip, book, codes, vectors, signed, rng, by_column)
    weight = weight[:, None] * np.ones(currents.shape[2])
    if not by_column:
        weight = weight * _column_weight(book, grid)[:, None, :]
        # One range for all: a single column of all currents.
        currents, weight = currents.reshape(1, -1, 1), weight.reshape(1, -1, 1)
    limits = adc_limits(chip, signed)
    peak = np.abs(currents).max(axis=1)
    if margin > 1.0:
        lsb = margin * peak / limits[1]
    elif chip.adc.range_method == "percentile":
        lsb = np.percentile(np.abs(currents), chip.adc.percentile, axis=1) / limits[1]
        lsb = np.where(lsb > 0, lsb, peak / limits[1])
    else:
        lsb = _least_error(currents, weight, peak, limits)
    if not lsb.any():
        return AdcRange(1.0)
    # A column without any current takes the coarsest range of its layer.
    lsb = np.where(lsb > 0, lsb, lsb.max()).astype(np.float32)
    return AdcRange(float(lsb.max()), lsb if by_column else None)


def _currents(
    chip: Chip,
    book: Codebook,
    codes: Codes,
    vectors: Array64,
    signed: bool,
    rng: np.random.Generator,
    by_column: bool,
) -> tuple[Array64, Array64]:
    """What the ADC converts, (groups, reads, bitlines), and the squared weight of each read."""
    if two_phases(chip, signed):
        vectors = np.concatenate([vectors.clip(0), (-vectors).clip(0)], axis=1)
    planes = plane_weights(chip, signed)
    count = _VECTORS if len(planes) == 1 else _PLANE_VECTORS
    some = vectors[:, :: max(1, vectors.shape[1] // count)]
    lines = (some[..., None] * book.drive).reshape(*some.shape[:2], -1)
    levels_us = np.asarray(chip.cell.g_levels_us)
    target_us = levels_us[book.levels[codes]]
    height, found, weights = block_size(chip)[0], [], []
    for _ in range(_SPECIMENS if by_column else 1):
        error_us = rng.standard_normal(target_us.shape) * chip.cell.sigma.sigma_us(target_us)
        cells = on_lines(target_us + error_us - book.reference_us, book.layout)
        for weight, plane in zip(planes, bit_planes(lines, planes), strict=True):
            for k in range(0, plane.shape[2], height):
                found.append(plane[:, :, k : k + height] @ cells[:, k : k + height])
                weights.append(np.full(plane.shape[1], float(weight) ** 2))
    return np.concatenate(found, axis=1), np.concatenate(weights)


def _column_weight(book: Codebook, grid: Grid) -> Array64:
    """(groups, bitlines) mean square of the output error a unit of a bitline's current."""
    squared: Array64 = book.on_bitlines(grid.scale[..., None] ** 2 * book.factors**2)
    return squared


def _least_error(
    currents: Array64, weight: Array64, peak: Array64, limits: tuple[int, int]
) -> Array64:
    """LSB of each column (groups, columns) that converts its currents with least error."""
    low, high = limits
    steps = _PARTS[:, None, None] * peak / high
    errors = []
    for step in steps:
        safe = np.where(step > 0, step, 1.0)[:, None, :]
        error = np.clip(np.rint(currents / safe), low, high) * safe - currents
        errors.append((weight * error**2).sum(axis=1))
    best = np.argmin(errors, axis=0)
    return np.asarray(np.take_along_axis(steps, best[None], axis=0)[0])
