"""A scale for every input channel of a layer, by which rounding, writes, reads and DAC lose least.

Dividing the inputs of a channel by s and multiplying its rows by s changes no output. What
changes is how much of its column's range a row uses, and how much of an output's error comes
through it: the array adds Σ code²·σ², so a strong input behind small weights is the worst case.

Shapes: weights are (groups, rows, cols); channels are those of all groups one after the other,
each with as many rows as the kernel has taps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.passes.quantize import rounding

__all__ = ["Channels", "Precision", "error_of", "row_scales"]

Array64 = npt.NDArray[np.float64]

#: Order of the norm that stands for a largest value: smooth, and near enough to it.
_ORDER = 12.0
#: Steps toward the best scales; more change the error by less than a thousandth.
_STEPS = 40
#: Channels are scaled by so much at most, in natural logarithms.
_MOST = np.log(16.0)
#: Columns on which the error before and after is compared.
_COLUMNS = 48
#: A channel counts as if it had this part of the mean power at least: what calibration data leave
#: idle may be driven in use.
_IDLE = 0.01


@dataclass(frozen=True)
class Channels:
    """What the channels of a layer's input are like.

    Attributes:
        power: (channels,) variance of the input.
        peak: (channels,) largest magnitude.
    """

    power: Array64 = field(repr=False)
    peak: Array64 = field(repr=False)

    @staticmethod
    def of(power: Array64, peak: Array64) -> Channels:
        """The same, no channel being quite idle."""
        return Channels(power + _IDLE * power.mean(), np.maximum(peak, _IDLE * peak.max()))

    def over(self, scale: Array64) -> Channels:
        """These inputs, divided by ``scale``."""
        return Channels(self.power / scale**2, self.peak / scale)


@dataclass(frozen=True)
class Precision:
    """How exactly a chip holds weights and takes inputs.

    Attributes:
        weight: variance of an entry, over the square of the largest weight of its column: what
            rounding and writing add.
        input: variance of an input code, over the square of the largest input.
    """

    weight: float
    input: float

    @staticmethod
    def of(book: Codebook, high: int, write_noise: float) -> Precision:
        """That of a chip.

        Args:
            high: the largest DAC code.
            write_noise: how much of the write variance counts.
        """
        half = (book.values_us[-1] - book.values_us[0]) / 2
        rounding_us2 = float(np.mean(np.diff(book.values_us) ** 2)) / 12
        written_us2 = write_noise * float(np.mean(book.sigma_us**2))
        return Precision((rounding_us2 + written_us2) / half**2, 1 / (12 * high**2))


def row_scales(weight: Array64, channels: Channels, precision: Precision) -> Array64:
    """(channels,) what to multiply each channel's rows with and divide its inputs by.

    The outputs' error, with a_n the largest entry of column n, E the power of the inputs and D
    the largest input, is

        J(s) = precision.weight · Σ_n a_n² · Σ_k E_k / s_k²  +  precision.input · D² · Σ w² s²

    With norms in place of the largest values J is a posynomial of s: log J is convex in log s
    (S. Boyd et al. 2007, 10.1007/s11081-007-9001-7), and at the optimum what a channel adds by
    its size and what it adds by its smallness are equal. The scales go toward that step by step.
    """
    groups, rows, _ = weight.shape
    count = len(channels.power)
    if count == groups:  # a channel with columns of its own uses their ranges whatever its size
        peak = np.log(np.maximum(channels.peak, np.finfo(float).tiny))
        return np.asarray(np.exp(np.clip(peak - peak.mean(), -_MOST, _MOST)))
    size = np.abs(weight)
    unit = size.max(axis=1, keepdims=True)
    spread = (size / np.where(unit > 0, unit, 1.0)) ** _ORDER
    columns = unit[:, 0] ** 2
    taps = groups * rows // count
    power = channels.power * taps
    own = np.square(weight).sum(axis=2).reshape(count, taps).sum(axis=1)
    driven = (own > 0) & (power > 0)
    log = np.zeros(count)
    for _ in range(_STEPS):
        scale = np.exp(log)
        raised = np.repeat(scale, taps).reshape(groups, rows) ** _ORDER
        total = np.maximum(np.einsum("gk,gkn->gn", raised, spread), np.finfo(float).tiny)
        ranges = columns * total ** (2 / _ORDER)
        used = raised * np.einsum("gkn,gn->gk", spread, ranges / total)
        noise = power / scale**2
        through = np.repeat(noise.reshape(groups, -1).sum(axis=1), count // groups)
        above = np.repeat(ranges.sum(axis=1), count // groups)
        peaks = (channels.peak / scale / (channels.peak / scale).max()) ** _ORDER
        largest = ((channels.peak / scale).max() * peaks.sum() ** (1 / _ORDER)) ** 2
        size_costs = precision.weight * through * used.reshape(count, taps).sum(axis=1)
        size_costs += precision.input * largest * own * scale**2
        small_costs = precision.weight * above * noise
        small_costs += precision.input * (own * scale**2).sum() * largest * peaks / peaks.sum()
        safe = np.where(driven & (size_costs > 0) & (small_costs > 0), size_costs, 1.0)
        log += np.log(np.where(safe == size_costs, small_costs, safe) / safe) / (_ORDER + 2)
        log = np.where(driven, log - log[driven].mean() if driven.any() else 0.0, 0.0)
        log = np.clip(log, -_MOST, _MOST)
    return np.exp(log)


def error_of(
    weight: Array64,
    channels: Channels,
    book: Codebook,
    precision: Precision,
    write_noise: float,
) -> float:
    """Variance of the outputs' error, summed over some columns, evenly spread.

    Args:
        write_noise: how much of the write variance counts.
    """
    groups, rows, cols = weight.shape
    taps = groups * rows // len(channels.power)
    importance = np.repeat(channels.power, taps).reshape(groups, rows)
    chosen = np.unique(np.linspace(0, groups * cols - 1, min(groups * cols, _COLUMNS)).astype(int))
    group, col = np.divmod(chosen, cols)
    some = weight[group, :, col][:, :, None]
    grid = rounding.choose_grid(some, importance[group], book, write_noise)
    codes = rounding.round_nearest(some, grid, book)
    changed = np.square(some - rounding.weights_of(book, grid, codes))
    written = write_noise * grid.scale[:, None, :] ** 2 * book.sigma_us[codes] ** 2
    held = float((importance[group][:, :, None] * (changed + written)).sum())
    read = precision.input * float(channels.peak.max()) ** 2 * float(np.square(some).sum())
    return held + read
