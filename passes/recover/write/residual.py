"""The digital residual: a few weights that the digital side adds to what the cells hold.

They take off what no write takes off, stuck cells above all, and cost a multiply-add each for
every input vector. Published for RRAM by G. Charan et al. 2020, IEEE JXCDC. Chosen as writes
are: for a column whose weights are r away from the float network's, adding δ to weight k changes
the output error rᵀ H r by 2 δ (H r)_k + δ² H_kk, at best by −(H r)_k² / H_kk; the values of a
column are then those that make its error least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.write.influence import Influence
from pimc.passes.recover.write.problem import Problem, most_a_column
from pimc.progress import Progress, silent

__all__ = ["add_residual", "residual_weights"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def residual_weights(image: Image) -> int:
    """How many weights the digital side of an image adds."""
    return sum(len(v.residual_index) for v in image.layers if v.residual_index is not None)


def add_residual(
    image: Image,
    estimates: Mapping[int, CellEstimate],
    influence: Mapping[int, Influence],
    budget: int,
    *,
    progress: Progress = silent,
) -> Image:
    """The image with a residual of at most ``budget`` weights, those already there included."""
    left = budget - residual_weights(image)
    weights = sum(layer.groups * layer.rows * layer.cols for layer in image.layers)
    if left <= 0:
        return image
    candidates = {
        layer.index: _Candidates.of(
            image, layer, estimates[layer.index], influence[layer.index], left / weights
        )
        for layer in progress(image.layers, "choosing digital weights")
    }
    gains = np.concatenate([each.gain.reshape(-1) for each in candidates.values()])
    least = -np.sort(-gains)[left - 1] if left < len(gains) else -np.inf
    changed = []
    for layer in image.layers:
        dense = candidates[layer.index].solved(layer, least)
        index = np.flatnonzero(dense)
        values = dense.reshape(-1)[index].astype(np.float32)
        if len(index):
            places = index.astype(np.int32)
            changed.append(replace(layer, residual_index=places, residual_value=values))
    return image.with_layers(changed)


@dataclass(frozen=True)
class _Candidates:
    """Weights of one layer in the order in which a column wants them.

    Attributes:
        gain: (steps, groups, cols) expected fall of the loss, never rising within a column.
        row: (steps, groups, cols).
        pull: (groups, rows, cols) half the gradient of the columns' errors before any.
        moments: (groups, rows, rows).
        fit: (groups, 1, cols) weight a µS.
    """

    gain: Array64 = field(repr=False)
    row: Ints = field(repr=False)
    pull: Array64 = field(repr=False)
    moments: Array64 = field(repr=False)
    fit: Array64 = field(repr=False)

    @staticmethod
    def of(
        image: Image,
        layer: ImageLayer,
        estimate: CellEstimate,
        influence: Influence,
        share: float,
    ) -> _Candidates:
        problem = Problem.of(image, layer, estimate, influence)
        pull, moments = problem.residual_pull.copy(), problem.moments
        weight = np.einsum("gkk->gk", moments)[:, :, None]
        safe = np.where(weight > 0, weight, np.inf)
        free = np.ones(pull.shape, np.bool_)
        group, col = np.ogrid[: layer.groups, : layer.cols]
        gains, rows = [], []
        for _ in range(most_a_column(layer.rows, share)):
            each = np.where(free, pull**2 / safe, 0.0)
            row = each.argmax(axis=1)
            at = (group, row, col)
            gains.append(each[at] * influence.sensitivity)
            rows.append(row)
            free[at] = False
            step = -pull[at] / safe[group, row, 0]
            pull += np.swapaxes(moments[group, row], 1, 2) * step[:, None, :]
        gain = np.minimum.accumulate(np.stack(gains), axis=0)
        return _Candidates(gain, np.stack(rows), problem.residual_pull, moments, problem.fit)

    def solved(self, layer: ImageLayer, least: float) -> Array64:
        """(groups, rows, cols) the residual that the chosen weights make best, old one included."""
        dense = np.zeros(self.pull.shape)
        chosen = (self.gain >= least) & (self.gain > 0)
        for group, col in np.argwhere(chosen.any(axis=0)):
            rows = self.row[chosen[:, group, col], group, col]
            normal = self.moments[group][np.ix_(rows, rows)]
            # Rows that only ever move together share what is to be added.
            ridge = 1e-9 * np.trace(normal) / len(rows) * np.eye(len(rows))
            dense[group, rows, col] = -np.linalg.solve(normal + ridge, self.pull[group, rows, col])
        scale = layer.scale.astype(np.float64).reshape(self.fit.shape)
        added: Array64 = dense * scale / self.fit
        return added if layer.residual is None else added + layer.residual
