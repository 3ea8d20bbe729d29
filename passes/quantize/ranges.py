"""Ranges of the converters: input units a DAC code, current an ADC code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, on_lines
from pimc.chip.converters import (
    adc_limits,
    bit_planes,
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
#: The same for inputs of unknown kind, whose largest currents may be far apart.
_SAFE_PARTS = np.geomspace(1.0, 0.01, 60)
#: Values that an input range is judged on; vectors an ADC range is, and currents where a layer is
#: so small that more vectors are affordable: rare large currents then are among them.
_VALUES, _VECTORS, _CURRENTS = 32768, 256, 1 << 18
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
    limits: tuple[int, int],
    rows: int,
    groups: int,
    rng: np.random.Generator,
    count: int = _VECTORS,
) -> Array64:
    """Input vectors where no data is at hand: (groups, vectors, rows) DAC codes.

    Normal values, cut at zero where inputs cannot be negative, each vector at full scale as
    dynamic ranges bring it.

    Args:
        limits: least and largest code.
    """
    return at_full_scale(rng.standard_normal((groups, count, rows)), limits)


def together_codes(
    limits: tuple[int, int],
    rows: int,
    window: int,
    groups: int,
    rng: np.random.Generator,
    count: int = _VECTORS,
) -> Array64:
    """Input vectors whose values go together, as those of pictures do; see :func:`synthetic_codes`.

    A value that all rows share, one that the rows of a channel share, and one of each row's own,
    in parts that differ from vector to vector.

    Args:
        window: rows of one channel.
    """
    parts = rng.dirichlet((1.0, 1.0, 1.0), (groups, count)) ** 0.5
    sign = rng.choice((-1.0, 1.0), (groups, count, 1))
    if limits[0] == 0:  # or most vectors with a negative part in common would be empty
        sign = np.ones_like(sign)
    channels = rng.standard_normal((groups, count, -(-rows // window)))
    shared = parts[..., :1] * sign + parts[..., 1:2] * channels
    values = np.repeat(shared, window, axis=2)[..., :rows]
    own = rng.standard_normal((groups, count, rows))
    own *= parts[..., 2:]
    values += own
    return at_full_scale(values, limits)


def at_full_scale(values: Array64, limits: tuple[int, int]) -> Array64:
    """Vectors (…, rows) as DAC codes, the largest value of each at the largest code."""
    low, high = limits
    if low == 0:
        values = np.maximum(values, 0.0)
    peak = np.maximum(values.max(axis=2, keepdims=True), -values.min(axis=2, keepdims=True))
    codes = values / np.where(peak > 0, peak, 1.0)
    codes *= high
    np.rint(codes, out=codes)
    return np.clip(codes, low, high, out=codes)


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
    held_us: Array64 | None = None,
) -> AdcRange:
    """The ADC's range: fixed by the chip, or fitted to what the ADC sees of ``vectors``.

    It sees the currents that ``vectors`` (groups, vectors, rows; DAC codes) cause in cells
    written with the chip's own imprecision; of a bit-serial input those of every bit plane.
    The range is that of least squared error of the layer's outputs, or the percentile of the
    currents that the chip asks for.

    Args:
        held_us: (groups, rows, cols, planes) what stuck cells hold, NaN for sound ones.
    """
    fixed = fixed_lsb_us(chip, signed)
    if fixed is not None:
        return AdcRange(fixed)
    by_column = chip.adc.range == "column"
    specimens = _specimens(chip, book, codes, rng, by_column, held_us)
    currents, weight = _currents(chip, book, specimens, vectors, signed)
    weight = weight[:, None] * np.ones(currents.shape[2])
    if not by_column:
        weight = weight * _column_weight(book, grid)[:, None, :]
        # One range for all: a single column of all currents.
        currents, weight = currents.reshape(1, -1, 1), weight.reshape(1, -1, 1)
    limits = adc_limits(chip, signed)
    peak = np.abs(currents).max(axis=1)
    if chip.adc.range_method == "percentile":
        lsb = np.percentile(np.abs(currents), chip.adc.percentile, axis=1) / limits[1]
        lsb = np.where(lsb > 0, lsb, peak / limits[1])
    else:
        lsb = _least_error(currents, weight, peak, limits)
    return _as_range(lsb, by_column)


def safe_range(
    chip: Chip,
    book: Codebook,
    codes: Codes,
    grid: Grid,
    kinds: Sequence[Array64],
    signed: bool,
    rng: np.random.Generator,
) -> AdcRange:
    """The ADC's range where it is not known which kind of input the layer will get.

    Inputs that go together add up to currents that independent ones never reach, and a range for
    the former leaves the latter few codes. The range is that whose largest error over all kinds
    of inputs, each relative to the currents that this kind causes, is least.

    Args:
        kinds: of each kind of input some vectors (groups, vectors, rows) of DAC codes.
        rng: what write errors are drawn from; they are the same for all kinds.
    """
    fixed = fixed_lsb_us(chip, signed)
    if fixed is not None:
        return AdcRange(fixed)
    by_column = chip.adc.range == "column"
    seen, specimens = [], _specimens(chip, book, codes, rng, by_column)
    for vectors in kinds:
        currents, weight = _currents(chip, book, specimens, vectors, signed)
        weight = np.broadcast_to(weight[:, None], currents.shape)
        if not by_column:
            weight = weight * _column_weight(book, grid)[:, None, :]
            currents, weight = currents.reshape(1, -1, 1), weight.reshape(1, -1, 1)
        seen.append((currents, weight))
    high = adc_limits(chip, signed)[1]
    peak = np.max([np.abs(currents).max(axis=1) for currents, _ in seen], axis=0)
    lsb = np.zeros(peak.shape)
    for column in np.ndindex(peak.shape):
        steps = _SAFE_PARTS * peak[column] / high
        worst = np.max(
            [
                _expected_error(c[column[0], :, column[1]], w[column[0], :, column[1]], steps, high)
                for c, w in seen
            ],
            axis=0,
        )
        lsb[column] = steps[np.argmin(worst)]
    return _as_range(lsb, by_column)


def _expected_error(currents: Array64, weight: Array64, steps: Array64, high: int) -> Array64:
    """Squared error of currents (reads,) at each LSB, as a part of the currents' own square.

    What is beyond the range is clipped, what is below half an LSB vanishes, and between them an
    LSB's twelfth of a square is the variance of rounding; sums over the currents below each of
    these borders give all three.
    """
    size = np.abs(currents)
    vanishing, ends = steps / 2, steps * high
    borders = np.sort(np.concatenate([vanishing, ends]))
    place = np.searchsorted(borders, size, side="right")
    # Of the currents below each border, and of all: the sums of their powers 0, 1 and 2.
    sums = [
        np.cumsum(np.bincount(place, weight * size**power, len(borders) + 1)) for power in range(3)
    ]
    lost, clipped = np.searchsorted(borders, vanishing), np.searchsorted(borders, ends)
    beyond = [total[-1] - total[clipped] for total in sums]
    inside = np.maximum(sums[0][clipped] - sums[0][lost], 0.0)
    error = sums[2][np.minimum(lost, clipped)] + inside * steps**2 / 12
    error += beyond[2] - 2 * ends * beyond[1] + ends**2 * beyond[0]
    relative: Array64 = error / max(float(sums[2][-1]), float(np.finfo(float).tiny))
    return relative


def _as_range(lsb: Array64, by_column: bool) -> AdcRange:
    if not lsb.any():
        return AdcRange(1.0)
    # A column without any current takes the coarsest range of its layer.
    filled = np.where(lsb > 0, lsb, lsb.max()).astype(np.float32)
    return AdcRange(float(filled.max()), filled if by_column else None)


def _specimens(
    chip: Chip,
    book: Codebook,
    codes: Codes,
    rng: np.random.Generator,
    by_column: bool,
    held_us: Array64 | None = None,
) -> list[Array64]:
    """Cells that hold ``codes`` as well as they can be written, (groups, wordlines, bitlines)."""
    target_us = np.asarray(chip.cell.g_levels_us)[book.levels[codes]]
    sigma_us = chip.cell.sigma.sigma_us(target_us)
    if held_us is not None:
        stuck = ~np.isnan(held_us)
        target_us, sigma_us = np.where(stuck, held_us, target_us), np.where(stuck, 0.0, sigma_us)
    return [
        on_lines(
            target_us + rng.standard_normal(target_us.shape) * sigma_us - book.reference_us,
            book.layout,
        )
        for _ in range(_SPECIMENS if by_column else 1)
    ]


def _currents(
    chip: Chip, book: Codebook, specimens: Sequence[Array64], vectors: Array64, signed: bool
) -> tuple[Array64, Array64]:
    """What the ADC converts, (groups, reads, bitlines), and the squared weight of each read."""
    if two_phases(chip, signed):
        vectors = np.concatenate([vectors.clip(0), (-vectors).clip(0)], axis=1)
    planes = plane_weights(chip, signed)
    height = block_size(chip, book)[0]
    groups, rows, columns = vectors.shape[0], vectors.shape[2], specimens[0].shape[2]
    converted = groups * (columns // book.col_planes) * -(-rows // height)
    count = max(
        _VECTORS if len(planes) == 1 else _PLANE_VECTORS,
        _CURRENTS // (len(planes) * converted),
    )
    some = vectors[:, :: max(1, vectors.shape[1] // count)]
    lines = (some[..., None] * book.drive).reshape(*some.shape[:2], -1)
    found, weights = [], []
    for cells in specimens:
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
    steps = _PARTS[:, None, None] * peak / limits[1]
    best = np.argmin(_errors(currents, weight, steps, limits), axis=0)
    return np.asarray(np.take_along_axis(steps, best[None], axis=0)[0])


def _errors(currents: Array64, weight: Array64, steps: Array64, limits: tuple[int, int]) -> Array64:
    """Weighted squared error of currents (groups, reads, columns) at each LSB."""
    errors = []
    for step in steps:
        safe = np.where(step > 0, step, 1.0)[:, None, :]
        error = np.clip(np.rint(currents / safe), *limits) * safe - currents
        errors.append((weight * error**2).sum(axis=1))
    return np.asarray(errors)
