"""Regression of columns on their cells, toward what was known before (Bishop 2006, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pimc.passes.recover.estimate import CellEstimate
from pimc.work.parts import parts

__all__ = ["Regression", "in_parts", "posterior", "rank_of", "with_offset"]

#: Cells solved for at a time, times the rows of a block squared.
_SOLVE_ELEMENTS = 4_000_000
#: Elements of systems that are inverted at a time.
_AT_ONCE = 500_000


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
        blocks, columns, rows = precision.shape
        covariance = gram.new_empty(blocks, columns, rows, rows)
        # What it takes on the way is several times as much: some columns after the others.
        for some in parts(columns, blocks * rows * rows, _AT_ONCE):
            system = gram[:, None] / noise[:, :, some].transpose(1, 2)[..., None]
            system.diagonal(dim1=-2, dim2=-1).add_(precision[:, some])
            covariance[:, some] = torch.cholesky_inverse(torch.linalg.cholesky(system))
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
    for part in in_parts(mean):
        columns = (values[:, :, part] for values in (mean, variance, noise))
        regression = Regression.of(inputs, *columns)
        means.append(regression.found(current[:, :, part]))
        variances.append(regression.spread)
    return torch.cat(means, dim=2), torch.cat(variances, dim=2)


def in_parts(mean: torch.Tensor) -> list[slice]:
    """Columns of (blocks, rows, columns) whose systems fit into memory together."""
    blocks, rows, columns = mean.shape
    return list(parts(columns, blocks * rows * rows, _SOLVE_ELEMENTS))
