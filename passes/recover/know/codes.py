"""Identify from codes: what the cells of a die hold, from what its columns returned.

A column is linear in its cells. With Gaussian write errors and Gaussian read noise the best
estimate is ridge regression toward the target levels, the strength of the pull given by the
chip's own σ(G) (Bayesian linear regression; Bishop 2006, section 3.3).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pimc.chip.converters import adc_limits, plane_weights, rounding_variance
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.know.clipping import Clipping, told
from pimc.passes.recover.know.regression import Regression, in_parts, rank_of, with_offset
from pimc.runtime.capture import LayerCapture

__all__ = ["identify"]

#: How often clipped codes are replaced by what the estimate says they would have been; more often
#: where only the estimate says which they are.
_CLIP_PASSES, _CLIP_PASSES_OF_SUMS = 2, 6


def identify(
    estimate: CellEstimate, image: Image, layer: ImageLayer, capture: LayerCapture
) -> CellEstimate:
    """The estimate brought up to date with a capture of codes."""
    chip, signed = image.chip, layer.input_signed
    inputs = torch.from_numpy(capture.inputs.astype(np.float64)).transpose(1, 2)
    lsb = torch.from_numpy(np.broadcast_to(layer.lsb_us, estimate.offset.shape).astype(np.float64))
    lsb = lsb[:, None, :]
    rounding, weights = rounding_variance(chip, signed), plane_weights(chip, signed)
    mean = torch.from_numpy(estimate.mean_us)
    variance = torch.from_numpy(estimate.variance)
    rank, driven = rank_of(inputs, estimate), inputs
    if chip.adc.offset_error_lsb:
        spread_of_offset = (chip.adc.offset_error_lsb * lsb) ** 2
        each = sum(weights)
        inputs, mean, variance = with_offset(inputs, mean, variance, each, spread_of_offset)
    passes = _CLIP_PASSES if len(weights) == 1 else _CLIP_PASSES_OF_SUMS
    found, spread = torch.empty_like(mean), torch.empty_like(variance)
    single = torch.empty_like(lsb)
    for part in in_parts(mean):
        # Codes of all columns take a quarter of that as they were captured.
        codes = torch.from_numpy(capture.codes[:, :, part].astype(np.float64))
        single[:, :, part], noise = _noise(codes, lsb[:, :, part], rounding)
        clipping = Clipping(codes, lsb[:, :, part], driven, weights, adc_limits(chip, signed))
        regression = Regression.of(inputs, mean[:, :, part], variance[:, :, part], noise)
        found[:, :, part], spread[:, :, part] = _filled_in(regression, clipping, passes)
    rows = estimate.mean_us.shape[1]
    offset = found[:, rows].numpy() if found.shape[1] > rows else estimate.offset
    return replace(
        estimate,
        mean_us=found[:, :rows].numpy(),
        variance=spread[:, :rows].numpy(),
        offset=offset,
        noise=single[:, 0].numpy(),
        rank=np.maximum(rank, estimate.rank),
    )


def _noise(
    codes: torch.Tensor, lsb: torch.Tensor, rounding: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(blocks, 1, columns) variances of a current read once, and of the mean of all repeats.

    ``rounding`` is the variance of a code's rounding, codes².
    """
    repeats = codes.shape[0]
    read = codes.var(dim=0).mean(dim=-1)[:, None, :] if repeats > 1 else torch.zeros_like(lsb)
    return (read + rounding) * lsb**2, (read / repeats + rounding) * lsb**2


def _filled_in(
    regression: Regression, clipping: Clipping, passes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of cells whose columns' codes are filled in where they were clipped."""
    found = regression.mean
    for _ in range(passes):
        known, clipped = clipping.filled(found)
        found = regression.found(known)
    return found, told(regression.variance, regression.spread, clipped)
