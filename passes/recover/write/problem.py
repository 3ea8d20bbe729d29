"""The choice of writes for one layer as a least-squares problem, solved greedily.

The formulas are those of :mod:`pimc.passes.recover.write.choose`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_error, stuck
from pimc.passes.recover.write.influence import Influence

__all__ = ["Problem", "most_a_column"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A layer (of digital weights, a column) may get so many times the average share of a round.
_DEPTH = 4.0
#: Rows that are looked at before the pull on all others follows.
_BLOCK = 64


@dataclass(eq=False)
class Problem:
    """State of the greedy choice for one layer; shapes (groups, rows, cols[, planes]).

    Attributes:
        fit: (groups, 1, cols) weight a µS that brings a column nearest to the float network's.
        unit: the same for each plane.
        residual_pull: H r.
        barred: the level each cell must not be written to; None where any will do.
    """

    held_us: Array64
    spread: Array64
    open_: npt.NDArray[np.bool_]
    address: Ints
    barred: Ints | None
    fit: Array64
    unit: Array64
    residual_pull: Array64
    moments: Array64
    levels_us: Array64
    sigma_us: Array64

    @staticmethod
    def of(
        image: Image,
        layer: ImageLayer,
        estimate: CellEstimate,
        influence: Influence,
        again: bool = True,
    ) -> Problem:
        """The layer as it is known to be.

        Args:
            again: cells may be written once more to the level they were asked to hold.
        """
        book, chip, cells = image.codebook_of(layer), image.chip, image.cells(layer)
        common = reference_error(estimate, image, layer)

        held = layer.by_weight(estimate.mean_us - common)
        shape = (layer.groups, 1, layer.cols)
        effective = held @ book.coefficients - book.pedestal_us(layer.zero).reshape(shape)
        if layer.residual is not None:
            effective = effective + layer.residual / layer.scale.reshape(shape)
        wanted = np.asarray(layer.teacher_weight, np.float64)
        image_of = influence.moments @ effective
        power = np.einsum("gkn,gkn->gn", effective, image_of)
        match = np.einsum("gkn,gkn->gn", wanted, image_of)
        fallback = (layer.scale * layer.gain).astype(np.float64).reshape(match.shape)
        # A column that is stored with its sign turned has a negative gain.
        fits = match * np.sign(fallback) > 0
        fit = np.where(fits, match / np.where(power > 0, power, 1.0), fallback)[:, None, :]
        sigma = chip.redrawn_us(np.asarray(chip.cell.g_levels_us))
        sound = ~stuck(image, layer, estimate)
        return Problem(
            held_us=held + book.reference_us,
            spread=layer.by_weight(estimate.variance),
            open_=layer.by_weight(sound & estimate.present).copy(),
            address=layer.by_weight(cells),
            barred=None if again else layer.by_weight(image.levels.reshape(-1)[cells]),
            fit=fit,
            unit=fit[..., None] * book.coefficients,
            residual_pull=influence.moments @ (fit * effective - wanted),
            moments=influence.moments,
            levels_us=np.asarray(chip.cell.g_levels_us, np.float64),
            sigma_us=sigma,
        )

    def best(self, sensitivity: Array64) -> float:
        """What the best write gains.

        Args:
            sensitivity: (groups, cols) of a column's outputs.
        """
        gain, _, _ = self._offers(slice(None), self.residual_pull)
        return float((gain * sensitivity[:, None, :, None]).max(initial=0.0))

    def sweep(self, sensitivity: Array64, least: float) -> tuple[Array64, Ints, Ints]:
        """Row by row, take every write that gains at least so much, one a weight.

        Returns:
            Gains, addresses and levels of the writes.
        """
        found: list[tuple[Array64, Ints, Ints]] = []
        rows = self.moments.shape[1]
        for start in range(0, rows, _BLOCK):
            stop = min(start + _BLOCK, rows)
            moved = np.zeros((len(self.moments), stop - start, self.residual_pull.shape[2]))
            for row in range(start, stop):
                within = self.moments[:, row : row + 1, start:row] @ moved[:, : row - start]
                taken, moved[:, row - start] = self._take(
                    row, self.residual_pull[:, row : row + 1] + within, sensitivity, least
                )
                found.append(taken)
            self.residual_pull += self.moments[:, :, start:stop] @ moved
        gain, cells, levels = (np.concatenate(part) for part in zip(*found, strict=True))
        return gain, cells, levels

    def _take(
        self, row: int, pull: Array64, sensitivity: Array64, least: float
    ) -> tuple[tuple[Array64, Ints, Ints], Array64]:
        """Writes of one row, and by how much its weights (groups, cols) move."""
        gain, move, level = (values[:, 0] for values in self._offers(slice(row, row + 1), pull))
        gain = gain * sensitivity[:, :, None]
        plane = gain.argmax(axis=2)
        group, col = np.nonzero(gain.max(axis=2) >= least)
        at = (group, col, plane[group, col])
        cell = (group, np.full_like(group, row), *at[1:])
        self.open_[cell] = False
        moved = np.zeros(plane.shape)
        moved[group, col] = move[at]
        return (gain[at], self.address[cell], level[at]), moved

    def _offers(self, rows: slice, pull: Array64) -> tuple[Array64, Array64, Ints]:
        """The best write of every cell of some rows: expected gain, move of the weight, level.

        Args:
            pull: (groups, rows, cols) theirs of H r.
        """
        pull = pull[..., None]
        held = self.held_us[:, rows]
        weight = np.einsum("gkk->gk", self.moments)[:, rows, None, None]
        safe = np.where(weight > 0, weight, 1.0)
        wish = held - pull / safe / self.unit
        middles = (self.levels_us[1:] + self.levels_us[:-1]) / 2
        level = np.searchsorted(middles, wish)
        move = self.unit * (self.levels_us[level] - held)
        landing = self.unit**2 * (self.sigma_us[level] ** 2 - self.spread[:, rows])
        gain = -(2 * move * pull + (move**2 + landing) * weight)
        allowed = self.open_[:, rows]
        if self.barred is not None:
            allowed = allowed & (level != self.barred[:, rows])
        return np.where(allowed, gain, 0.0), move, level


def most_a_column(places: int, share: float) -> int:
    """Places a column that may be chosen where ``share`` of all of them may be."""
    return min(places, 1 + int(_DEPTH * share * places))
