"""What a layer gives: with float weights, on codes, and the moments of its columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.passes.quantize import rounding
from pimc.plan.held import HeldWeights
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Layer, Window

if TYPE_CHECKING:
    import torch

__all__ = ["Moments", "apply", "as_vectors", "column_moments", "gain_for", "on_codes", "scaled"]

Array64 = npt.NDArray[np.float64]

#: Columns are widened or narrowed by so much at most, and those that hardly vary are left alone.
_GAIN, _FLAT = 1.5, 1e-4
#: Values of a column that tell its spread at least: of fewer the ratio of two spreads is mostly
#: what rounding happened to do to them.
_FEWEST = 16


def apply(
    layer: Layer,
    x: torch.Tensor,
    weight: npt.NDArray[np.floating],
    bias: npt.NDArray[np.float32],
) -> torch.Tensor:
    """The layer with weights (groups, rows, cols) as plain arithmetic."""
    import torch

    from pimc.plan.vectors import convolve

    matrix, offset = torch.from_numpy(weight), torch.from_numpy(bias).to(x.dtype)
    window = layer.window
    if window is None:
        return x @ matrix[0] + offset
    return convolve(x, kernels_of_matrix(matrix, window.kernel), offset, window, layer.groups)


def on_codes(
    layer: Layer,
    x: torch.Tensor,
    grid: rounding.Grid,
    codes: rounding.Codes,
    book: Codebook,
    held: HeldWeights | None = None,
) -> torch.Tensor:
    """DAC codes through the layer in µS times DAC code, the zero taken off.

    With evenly spaced levels all products are whole numbers, and as long as their sums stay
    below 2²⁴ float32 holds them exactly in whatever order they are added.
    """
    nothing = np.zeros(layer.bias.shape, np.float32)
    if book.step_us is not None and held is None:
        whole = codes.astype(np.float32) - grid.zero[:, None, :]
        if float(np.abs(whole).sum(axis=1).max()) * float(x.abs().amax()) < 2**24:
            return apply(layer, x.float(), whole, nothing).to(x.dtype).mul_(book.step_us)
    return apply(layer, x, rounding.units(book, grid, codes, held), nothing)


def scaled(
    layer: Layer, y: torch.Tensor, scale: Array64, bias: npt.NDArray[np.float32]
) -> torch.Tensor:
    """``y · scale + bias`` a column, in place."""
    import torch

    shape = (-1,) if layer.window is None else (1, -1, *(1,) * (y.dim() - 2))
    offset = torch.from_numpy(bias).to(y.dtype)
    return y.mul_(torch.from_numpy(scale).view(shape)).add_(offset.view(shape))


class Moments(NamedTuple):
    """Mean and standard deviation of each output column, and of how many values they are."""

    mean: torch.Tensor
    spread: torch.Tensor
    values: int


def column_moments(layer: Layer, y: torch.Tensor) -> Moments:
    """Of a layer's outputs."""
    import torch

    columns = y.movedim(y.dim() - 1 if layer.window is None else 1, 0).flatten(1)
    variance, mean = torch.var_mean(columns, dim=1, correction=0)
    return Moments(mean, variance.sqrt(), columns.shape[1])


def gain_for(wanted: Moments, found: Moments) -> torch.Tensor:
    """What gives each column the spread that it has in the float network, within limits.

    The fit of least squares makes columns narrower than that wherever inputs or weights have
    errors. It is what new statistics of batch norms do for a network on analog memory
    (V. Joshi et al. 2020, 10.1038/s41467-020-16108-9).
    """
    import torch

    if min(wanted.values, found.values) < _FEWEST:
        return torch.ones_like(wanted.spread)
    least = _FLAT * wanted.spread.amax()
    driven = (wanted.spread > least) & (found.spread > least)
    ratio = wanted.spread / torch.where(driven, found.spread, 1.0)
    return torch.where(driven, ratio, 1.0).clamp(1 / _GAIN, _GAIN)


def as_vectors(layer: Layer) -> Layer:
    """The layer for inputs (1, groups · rows, vectors): cut out already."""
    return replace(layer, window=Window((1,), (1,), (1,), (0, 0)))
