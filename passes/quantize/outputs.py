"""What a layer gives: with float weights, on codes, and the moments of its columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.passes.calibrate.vectors import convolve
from pimc.passes.quantize import rounding
from pimc.plan.held import HeldWeights
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Layer, Window

__all__ = [
    "Moments",
    "apply",
    "as_vectors",
    "by_column",
    "column_moments",
    "gain_for",
    "on_codes",
    "scaled",
]

Array64 = npt.NDArray[np.float64]
Floats = npt.NDArray[Any]

#: Columns are widened or narrowed by so much at most, and those that hardly vary are left alone.
_GAIN, _FLAT = 1.5, 1e-4
#: Values of a column that tell its spread at least: of fewer the ratio of two spreads is mostly
#: what rounding happened to do to them.
_FEWEST = 16


def apply(
    layer: Layer,
    x: Floats,
    weight: npt.NDArray[np.floating],
    bias: npt.NDArray[np.float32],
) -> Floats:
    """The layer with weights (groups, rows, cols) as plain arithmetic in the type of ``x``."""
    matrix, offset = weight.astype(x.dtype, copy=False), bias.astype(x.dtype)
    window = layer.window
    if window is None:
        y: Floats = x.reshape(-1, x.shape[-1]) @ matrix[0]
        y += offset
        return y.reshape(*x.shape[:-1], y.shape[1])
    return convolve(x, kernels_of_matrix(matrix, window.kernel), offset, window, layer.groups)


def on_codes(
    layer: Layer,
    x: Array64,
    grid: rounding.Grid,
    codes: rounding.Codes,
    book: Codebook,
    held: HeldWeights | None = None,
) -> Array64:
    """DAC codes through the layer in µS times DAC code, the zero taken off.

    With evenly spaced levels all products are whole numbers, and as long as their sums stay
    below 2²⁴ float32 holds them exactly in whatever order they are added.
    """
    nothing = np.zeros(layer.bias.shape, np.float32)
    if book.step_us is not None and held is None:
        whole = codes.astype(np.float32) - grid.zero[:, None, :]
        if float(np.abs(whole).sum(axis=1).max()) * float(np.abs(x).max()) < 2**24:
            y = apply(layer, x.astype(np.float32), whole, nothing).astype(np.float64)
            y *= book.step_us
            return y
    return apply(layer, x, rounding.units(book, grid, codes, held), nothing)


def scaled(layer: Layer, y: Array64, scale: Array64, bias: npt.NDArray[np.float32]) -> Array64:
    """``y · scale + bias`` a column, in place."""
    y *= by_column(layer, y, scale)
    y += by_column(layer, y, bias.astype(np.float64))
    return y


def by_column(layer: Layer, y: Array64, values: Array64) -> Array64:
    """A value for each output column, in a shape that goes with the outputs ``y``."""
    return values if layer.window is None else values.reshape(-1, *(1,) * (y.ndim - 2))


class Moments(NamedTuple):
    """Mean and standard deviation of each output column, and of how many values they are."""

    mean: Array64
    spread: Array64
    values: int


def column_moments(layer: Layer, y: Array64) -> Moments:
    """Of a layer's outputs."""
    column = y.ndim - 1 if layer.window is None else 1
    others = tuple(axis for axis in range(y.ndim) if axis != column)
    return Moments(y.mean(axis=others), y.std(axis=others), y.size // y.shape[column])


def gain_for(wanted: Moments, found: Moments) -> Array64:
    """What gives each column the spread that it has in the float network, within limits.

    The fit of least squares makes columns narrower than that wherever inputs or weights have
    errors. It is what new statistics of batch norms do for a network on analog memory
    (V. Joshi et al. 2020, 10.1038/s41467-020-16108-9).
    """
    if min(wanted.values, found.values) < _FEWEST:
        return np.ones_like(wanted.spread)
    least = _FLAT * wanted.spread.max()
    driven = (wanted.spread > least) & (found.spread > least)
    ratio = wanted.spread / np.where(driven, found.spread, 1.0)
    return np.where(driven, ratio, 1.0).clip(1 / _GAIN, _GAIN)


def as_vectors(layer: Layer) -> Layer:
    """The layer for inputs (1, groups · rows, vectors): cut out already."""
    return replace(layer, window=Window((1,), (1,), (1,), (0, 0)))
