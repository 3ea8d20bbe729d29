"""Identify from sums: what the cells hold where only the outputs of whole layers were recorded.

An output adds up the tiles under one another and all bitlines of its weights: one regression
over all their cells, again toward the target levels. Against the codes of every tile this loses:
more cells share one equation, the noise of all tiles comes together, clipping does not show, and
without repeats the noise is not measured. It is estimated with the cells, by the evidence
(Bishop 2006, section 3.5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import adc_limits, plane_weights, rounding_variance
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.know.clipping import told
from pimc.passes.recover.know.regression import posterior, rank_of, with_offset
from pimc.runtime.capture import LayerCapture
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.read.dac import driven_planes

__all__ = ["identify_sums"]

Array64 = npt.NDArray[np.float64]

#: How often cells, noise and clipped outputs are estimated from one another.
_PASSES = 4
#: A column whose gain is smaller tells nothing.
_LEAST_SCALE = 1e-12


def identify_sums(
    estimate: CellEstimate, image: Image, bound: CrossbarLayer, capture: LayerCapture
) -> CellEstimate:
    """The estimate brought up to date with the outputs of a capture.

    Args:
        bound: the layer; only its digital side is used.
    """
    sums = _Sums.of(image, bound, capture)
    mean, variance = sums.joined(estimate.mean_us), sums.joined(estimate.variance)
    inputs, rows = sums.inputs, mean.shape[1]
    if deviation := image.chip.adc.offset_error_lsb:
        each = sum(plane_weights(image.chip, bound.layer.input_signed))
        prior = deviation**2 * sums.lsb_squared
        inputs, mean, variance = with_offset(inputs, mean, variance, each, prior)
    rounding = rounding_variance(image.chip, bound.layer.input_signed) * sums.lsb_squared
    found, spread = mean, variance
    noise, known = rounding, sums.current
    clipped = torch.zeros_like(known, dtype=torch.bool)
    for _ in range(_PASSES):
        found, spread = posterior(inputs, known, mean, variance, noise)
        expected = inputs @ found
        clipped = sums.clipped(found[:, :rows])
        known = torch.where(clipped, expected, sums.current)
        fitted = (1.0 - spread / variance).sum(dim=1, keepdim=True)
        left = ((~clipped).sum(dim=1, keepdim=True) - fitted).clamp_min(1.0)
        noise = ((known - expected).square().sum(dim=1, keepdim=True) / left).maximum(rounding)
    factors = image.codebook_of(bound.layer).factors
    offset = estimate.offset
    if len(found[0]) > rows:
        offset = sums.shared(found[:, rows:], factors)
    return replace(
        estimate,
        mean_us=sums.apart(found[:, :rows]),
        variance=sums.apart(told(variance, spread, clipped)[:, :rows]),
        offset=offset,
        noise=sums.shared(noise, np.ones_like(factors)),
        rank=np.maximum(rank_of(sums.driven.transpose(1, 2), estimate), estimate.rank),
    )


@dataclass(frozen=True)
class _Sums:
    """The regression of one layer: its groups stand side by side, all cells of an output below.

    Attributes:
        driven: (blocks, rows, vectors) DAC codes on the wordlines.
        inputs: (groups, vectors, cells an output) what each cell is multiplied with.
        current: (groups, vectors, cols) µS times DAC code.
        lsb_squared: (groups, 1, cols) squared codes of all conversions of an output, added.
    """

    image: Image = field(repr=False)
    layer: ImageLayer = field(repr=False)
    driven: torch.Tensor = field(repr=False)
    inputs: torch.Tensor = field(repr=False)
    current: torch.Tensor = field(repr=False)
    lsb_squared: torch.Tensor = field(repr=False)

    @staticmethod
    def of(image: Image, bound: CrossbarLayer, capture: LayerCapture) -> _Sums:
        layer, book = bound.layer, image.codebook_of(bound.layer)
        factors = book.factors
        driven = torch.from_numpy(capture.inputs.astype(np.float64))
        silent = torch.zeros(1, len(driven), layer.bitlines, driven.shape[2])
        digital = bound.outputs_of(silent, driven[None].float())[0].double()
        scale = (layer.scale * layer.gain).astype(np.float64) * (layer.input_scale or 1.0)
        unit = torch.from_numpy(np.where(np.abs(scale) < _LEAST_SCALE, np.inf, scale))
        current = (torch.from_numpy(capture.outputs).double() - digital) / unit[:, None]
        lines = driven.unflatten(0, (layer.groups, -1)).flatten(1, 2).transpose(1, 2)
        lsb = np.broadcast_to(layer.lsb_us, (len(driven), layer.bitlines)).astype(np.float64)
        squared = book.by_output(lsb**2) @ factors**2
        by_group = squared.reshape(layer.groups, -1, layer.cols).sum(axis=1, keepdims=True)
        return _Sums(
            image,
            layer,
            driven,
            (lines[..., None] * torch.from_numpy(factors)).flatten(2),
            current.unflatten(0, (layer.groups, layer.cols)).transpose(1, 2),
            torch.from_numpy(by_group),
        )

    def joined(self, cells: Array64) -> torch.Tensor:
        """Values of cells (blocks, rows, bitlines) by output: (groups, cells an output, cols)."""
        by_output = self.image.codebook_of(self.layer).by_output(cells)
        grouped = by_output.reshape(self.layer.groups, -1, *by_output.shape[2:])
        return torch.from_numpy(np.ascontiguousarray(grouped.swapaxes(2, 3))).flatten(1, 2)

    def apart(self, values: torch.Tensor) -> Array64:
        """The inverse of :meth:`joined`."""
        planes = self.image.codebook_of(self.layer).col_planes
        by_output = values.unflatten(1, (-1, planes)).transpose(2, 3).numpy()
        lines = self.image.codebook_of(self.layer).on_bitlines(by_output)
        return np.ascontiguousarray(lines.reshape(*self.driven.shape[:2], -1))

    def shared(self, values: torch.Tensor, factors: Array64) -> Array64:
        """(blocks, bitlines) shares of (groups, 1, cols), as large as ``factors`` say."""
        own = self.image.codebook_of(self.layer).factors
        each = values.numpy()[..., None] * factors / (own**2).sum() / self.layer.row_blocks
        lines = self.image.codebook_of(self.layer).on_bitlines(each)[:, 0]
        return np.repeat(lines, self.layer.row_blocks, axis=0)

    def clipped(self, found: torch.Tensor) -> torch.Tensor:
        """(groups, vectors, cols) whether a conversion is expected beyond the converter's range.

        A sum does not show it; it is taken to tell nothing where it is expected.
        """
        chip, signed = self.image.chip, self.layer.input_signed
        low, high = adc_limits(chip, signed)
        cells = torch.from_numpy(self.apart(found))
        lsb = torch.from_numpy(np.broadcast_to(self.layer.lsb_us, cells.shape[::2]).copy())
        beyond = torch.zeros(len(cells), self.driven.shape[2], cells.shape[2], dtype=torch.bool)
        weights, driven = plane_weights(chip, signed), self.driven.transpose(1, 2)
        # One conversion takes whole codes at once, else one bit of each.
        planes = [(1, driven)] if len(weights) == 1 else driven_planes(driven, weights)
        for _, plane in planes:
            codes = (plane @ cells) / lsb[:, None]
            beyond |= (codes < low) | (codes > high)
        by_output = self.image.codebook_of(self.layer).by_output(beyond.numpy()).any(axis=3)
        blocks: torch.Tensor = torch.from_numpy(by_output).unflatten(0, (self.layer.groups, -1))
        return blocks.any(dim=1)
