"""Identify: what the cells of a die hold, from what its columns returned.

A column is linear in its cells. With Gaussian write errors and Gaussian read noise the best
estimate is ridge regression toward the target levels, the strength of the pull given by the
chip's own σ(G) (Bayesian linear regression; Bishop 2006, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import adc_limits, plane_weights, rounding_variance
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.clipping import Clipping, told
from pimc.runtime.capture import LayerCapture

Array64 = npt.NDArray[np.float64]

#: Beyond this many standard deviations a cell counts as stuck: no write will move it.
STUCK_SIGMAS = 6.0
#: How often clipped codes are replaced by what the estimate says they would have been; more often
#: where only the estimate says which they are.
_CLIP_PASSES, _CLIP_PASSES_OF_SUMS = 2, 6
#: Cells solved for at a time, times the rows of a block squared.
_SOLVE_ELEMENTS = 16_000_000


@dataclass(frozen=True)
class CellEstimate:
    """What is known of the cells of one layer; all arrays are (blocks, rows, columns), µS.

    Attributes:
        present: where there is a cell at all.
        target_us: what the cell was asked to hold, less the reference's nominal conductance.
        mean_us: the estimate of the same as its column sees it.
        variance: variance of the estimate, µS².
        offset: (blocks, columns) what each column's converter adds to one conversion, µS times
            DAC code.
        noise: (blocks, columns) variance of one read, rounding included, (µS times DAC code)².
        rank: (blocks,) how many directions of its rows the known inputs spanned.
    """

    present: npt.NDArray[np.bool_] = field(repr=False)
    target_us: Array64 = field(repr=False)
    mean_us: Array64 = field(repr=False)
    variance: Array64 = field(repr=False)
    offset: Array64 = field(repr=False)
    noise: Array64 = field(repr=False)
    rank: npt.NDArray[np.int64] = field(repr=False)

    @property
    def error_us(self) -> Array64:
        """Estimated deviation from the target."""
        return self.mean_us - self.target_us


def prior(image: Image, layer: ImageLayer) -> CellEstimate:
    """What is known before anything was captured: the targets and the chip's statistics."""
    cells = image.cells(layer)
    present = cells >= 0
    level = np.where(present, image.levels.reshape(-1)[cells], 0)
    target, sigma = _statistics(image, level)
    variance = sigma**2 + reference_variance(image)
    return CellEstimate(
        present,
        np.where(present, target, 0.0),
        np.where(present, target, 0.0),
        np.where(present, variance, 1e-12),
        np.zeros(cells.shape[::2]),
        np.zeros(cells.shape[::2]),
        np.zeros(len(cells), np.int64),
    )


def rewritten(
    estimate: CellEstimate, image: Image, layer: ImageLayer, changed: npt.NDArray[np.bool_]
) -> CellEstimate:
    """The estimate after ``changed`` cells were written to the levels of ``image``.

    A write redraws a cell's own error; what the reference column adds to its row stays.
    """
    level = np.where(estimate.present, image.levels.reshape(-1)[image.cells(layer)], 0)
    target, sigma = _statistics(image, level)
    target = np.where(estimate.present, target, 0.0)
    common = reference_error(estimate, image, layer)
    mean = np.where(changed, target + common, estimate.mean_us)
    variance = np.where(changed, sigma**2 + estimate.variance, estimate.variance)
    return replace(estimate, target_us=target, mean_us=mean, variance=variance)


def identify(
    estimate: CellEstimate, image: Image, layer: ImageLayer, capture: LayerCapture
) -> CellEstimate:
    """The estimate brought up to date with a capture of codes."""
    chip, signed = image.chip, layer.input_signed
    codes = torch.from_numpy(capture.codes.astype(np.float64))
    inputs = torch.from_numpy(capture.inputs.astype(np.float64)).transpose(1, 2)
    lsb = torch.from_numpy(np.broadcast_to(layer.lsb_us, estimate.offset.shape).astype(np.float64))
    lsb = lsb[:, None, :]
    single, noise = _noise(codes, lsb, rounding_variance(chip, signed))
    clipping = Clipping(codes, lsb, inputs, plane_weights(chip, signed), adc_limits(chip, signed))
    mean = torch.from_numpy(estimate.mean_us)
    variance = torch.from_numpy(estimate.variance)
    rank = rank_of(inputs, estimate)
    if chip.adc.offset_error_lsb:
        spread_of_offset = (chip.adc.offset_error_lsb * lsb) ** 2
        each = sum(clipping.weights)
        inputs, mean, variance = with_offset(inputs, mean, variance, each, spread_of_offset)
    passes = _CLIP_PASSES if len(clipping.weights) == 1 else _CLIP_PASSES_OF_SUMS
    parts = [
        _filled_in(
            Regression.of(inputs, *(values[:, :, part] for values in (mean, variance, noise))),
            clipping.of_columns(part),
            passes,
        )
        for part in _parts(mean)
    ]
    found, spread = (torch.cat(values, dim=2) for values in zip(*parts, strict=True))
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


def reference_error(estimate: CellEstimate, image: Image, layer: ImageLayer) -> Array64:
    """What the reference columns' own errors add to each cell: (blocks, rows, columns), µS.

    All columns of an array share it, so it is the mean error of a row over them, drawn toward
    zero as far as the cells' own errors can explain that mean. Stuck cells do not count.
    """
    common = np.zeros_like(estimate.mean_us)
    own, shared = _write_variance(image), reference_variance(image)
    if not shared:
        return common
    error = estimate.error_us
    sound = estimate.present & (np.abs(error) < STUCK_SIGMAS * np.sqrt(own + shared))
    block = layer.block_of_bitline
    for number in range(layer.col_blocks):
        inside = np.flatnonzero(block == number)
        count = sound[:, :, inside].sum(axis=2, keepdims=True)
        total = np.where(sound, error, 0.0)[:, :, inside].sum(axis=2, keepdims=True)
        common[:, :, inside] = total * shared / (count * shared + own)
    return common


def stuck(image: Image, layer: ImageLayer, estimate: CellEstimate) -> npt.NDArray[np.bool_]:
    """(blocks, rows, columns) cells further from their targets than any write lands."""
    spread = chip_spread_us(image)
    limit = STUCK_SIGMAS * np.sqrt(estimate.variance + spread**2)
    away = np.abs(estimate.error_us - reference_error(estimate, image, layer))
    return estimate.present & (away >= limit)


def chip_spread_us(image: Image) -> float:
    """The largest standard deviation with which a cell of the chip holds a level, µS."""
    return float(image.chip.spread_us(np.asarray(image.chip.cell.g_levels_us)).max())


def row_correction(estimate: CellEstimate, image: Image, layer: ImageLayer) -> Any:
    """The image's ``row_correction``, (groups, col_blocks, wordlines); None without reference."""
    if image.chip.mapping.pedestal != "reference":
        return None
    first = np.unique(layer.block_of_bitline, return_index=True)[1]
    common = reference_error(estimate, image, layer)[:, :, first]
    by_group = common.reshape(layer.groups, -1, layer.col_blocks)[:, : layer.wordlines]
    return np.ascontiguousarray(by_group.transpose(0, 2, 1), dtype=np.float32)


def reference_variance(image: Image) -> float:
    """Variance of a reference cell's own write error, µS²; 0 without a reference column."""
    if image.chip.mapping.pedestal != "reference":
        return 0.0
    # What every cell's variation adds to its programming error is there in these cells, too.
    chip, reference = image.chip, np.asarray([image.codebook.reference_us])
    lasting = chip.spread_us(reference)[0] ** 2 - chip.cell.sigma.sigma_us(reference)[0] ** 2
    return float(lasting) + chip.reference_sigma_us**2


def _write_variance(image: Image) -> float:
    """Variance of a cell's own write error, mean over the levels, µS²."""
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    return float(np.mean(np.asarray(image.chip.spread_us(levels_us)) ** 2))


def _statistics(image: Image, level: npt.NDArray[Any]) -> tuple[Array64, Array64]:
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    sigma_us = np.asarray(image.chip.spread_us(levels_us))
    return levels_us[level] - image.codebook.reference_us, sigma_us[level]


def _noise(
    codes: torch.Tensor, lsb: torch.Tensor, rounding: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(blocks, 1, columns) variances of a current read once, and of the mean of all repeats.

    ``rounding`` is the variance of a code's rounding, codes².
    """
    repeats = codes.shape[0]
    read = codes.var(dim=0).mean(dim=-1)[:, None, :] if repeats > 1 else torch.zeros_like(lsb)
    return (read + rounding) * lsb**2, (read / repeats + rounding) * lsb**2


def with_offset(
    inputs: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    each: int,
    prior: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A regression with what converters add as one more cell, which every vector drives alike.

    Args:
        each: how often a vector meets the offset.
        prior: (blocks, 1, columns) variance of the offset.
    """
    return (
        torch.cat([inputs, inputs.new_full((*inputs.shape[:2], 1), each)], dim=2),
        torch.cat([mean, torch.zeros_like(prior)], dim=1),
        torch.cat([variance, prior], dim=1),
    )


def rank_of(inputs: torch.Tensor, estimate: CellEstimate) -> npt.NDArray[np.int64]:
    """(blocks,) directions of its rows that a block's inputs (blocks, vectors, rows) span."""
    driven = inputs * torch.from_numpy(estimate.present.any(axis=2))[:, None]
    gram = driven.transpose(1, 2) @ driven
    return np.asarray(torch.linalg.matrix_rank(gram, hermitian=True).numpy())


@dataclass(frozen=True)
class Regression:
    """Each column a regression of its own, ready for what its currents turn out to be.

    Shapes: inputs (blocks, vectors, rows); mean and variance (blocks, rows, columns); noise
    (blocks, 1, columns); covariance (blocks, columns, rows, rows).
    """

    inputs: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    noise: torch.Tensor
    covariance: torch.Tensor

    @staticmethod
    def of(
        inputs: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, noise: torch.Tensor
    ) -> Regression:
        """What costs most, and does not depend on the currents, done."""
        gram = inputs.transpose(1, 2) @ inputs
        precision = (1.0 / variance).transpose(1, 2)
        system = gram[:, None] / noise.transpose(1, 2)[..., None] + torch.diag_embed(precision)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(system))
        return Regression(inputs, mean, variance, noise, covariance)

    def found(self, current: torch.Tensor) -> torch.Tensor:
        """(blocks, rows, columns) mean of every cell for ``current`` (blocks, vectors, columns)."""
        pull = self.inputs.transpose(1, 2) @ (current - self.inputs @ self.mean) / self.noise
        shift = (self.covariance @ pull.transpose(1, 2)[..., None])[..., 0]
        return self.mean + shift.transpose(1, 2)

    @property
    def spread(self) -> torch.Tensor:
        """(blocks, rows, columns) variance of every cell that is left."""
        # A view would keep the whole covariance in memory.
        return self.covariance.diagonal(dim1=-2, dim2=-1).transpose(1, 2).clone()


def posterior(
    inputs: torch.Tensor,
    current: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of every cell, the shapes those of a :class:`Regression`."""
    means, variances = [], []
    for part in _parts(mean):
        columns = (values[:, :, part] for values in (mean, variance, noise))
        regression = Regression.of(inputs, *columns)
        means.append(regression.found(current[:, :, part]))
        variances.append(regression.spread)
    return torch.cat(means, dim=2), torch.cat(variances, dim=2)


def _parts(mean: torch.Tensor) -> list[slice]:
    """Columns of (blocks, rows, columns) whose systems fit into memory together."""
    blocks, rows, columns = mean.shape
    step = max(1, _SOLVE_ELEMENTS // (blocks * rows * rows))
    return [slice(start, start + step) for start in range(0, columns, step)]


def _filled_in(
    regression: Regression, clipping: Clipping, passes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of cells whose columns' codes are filled in where they were clipped."""
    found = regression.mean
    for _ in range(passes):
        known, clipped = clipping.filled(found)
        found = regression.found(known)
    return found, told(regression.variance, regression.spread, clipped)
