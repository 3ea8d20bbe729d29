"""Rewrite: which few cells to write again, and to what level.

For a layer with input second moments H, a column's output error is rᵀ H r, where r is what
its weights are away from the float network's. Moving one weight by δ changes that by
2 δ (H r)_k + δ² H_kk; a write lands with variance σ², which adds σ² H_kk. So the expected
gain of every possible write is known, also of those that make up for the errors of cells that
stay as they are (the second-order view of Optimal Brain Surgeon, Hassibi and Stork 1992). What
counts is that gain times the column's share in the loss. Cells are taken in sweeps over the
rows: each takes what gains at least so much, r following at once, the next one takes half of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.identify import CellEstimate, reference_error, stuck

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A layer (of digital weights, a column) may get so many times the average share of a round.
_DEPTH = 4.0
#: Most sweeps over a layer; the last asks for a millionth of what the best write gains.
_SWEEPS = 20
#: Rows that are looked at before the pull on all others follows.
_BLOCK = 64


@dataclass(frozen=True)
class Influence:
    """What a layer's outputs matter.

    Attributes:
        moments: (groups, rows, rows) second moments of the layer's inputs about their mean.
        sensitivity: (groups, cols) squared gradient of the loss, summed over an image's
            positions, mean over images.
    """

    moments: Array64 = field(repr=False)
    sensitivity: Array64 = field(repr=False)


@dataclass(frozen=True)
class Proposal:
    """Writes proposed for one layer, in the order in which they pay.

    Attributes:
        gain: expected fall of the loss of each write, never rising.
        cells: addresses.
        levels: the level each is to be written to.
    """

    layer: int
    gain: Array64 = field(repr=False)
    cells: Ints = field(repr=False)
    levels: npt.NDArray[np.uint16] = field(repr=False)


def propose(
    image: Image,
    layer: ImageLayer,
    estimate: CellEstimate,
    influence: Influence,
    *,
    share: float = 0.075,
    again: bool = True,
    worn: npt.NDArray[np.bool_] | None = None,
) -> Proposal:
    """Every write of a layer that is expected to pay, with what it should gain.

    Args:
        share: part of all cells that the round may write; bounds how many a layer proposes.
        again: cells may be written once more to the level they were asked to hold.
        worn: (blocks, rows, columns) cells that endure no further write.
    """
    problem = Problem.of(image, layer, estimate, influence, again)
    if worn is not None:
        problem.open_ &= ~layer.by_weight(worn)
    most = most_a_column(layer.rows * layer.planes, share) * layer.groups * layer.cols
    limit = problem.best(influence.sensitivity)
    if limit <= 0:
        return Proposal(layer.index, np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint16))
    # Layers are compared by gain: all take the same steps.
    step = int(np.floor(np.log2(limit)))
    sweeps: list[tuple[Array64, Ints, Ints]] = []
    ceiling = np.inf
    for power in range(step, step - _SWEEPS, -1):
        gain, cells, levels = problem.sweep(influence.sensitivity, 2.0**power)
        # A write is worth no more than those of the sweeps before, which it may need.
        sweeps.append((np.minimum(gain, ceiling), cells, levels))
        ceiling = 2.0**power
        if sum(len(cells) for _, cells, _ in sweeps) >= most:
            break
    gain, cells, levels = (np.concatenate(part) for part in zip(*sweeps, strict=True))
    order = np.argsort(-gain, kind="stable")
    return Proposal(layer.index, gain[order], cells[order], levels[order].astype(np.uint16))


def most_a_column(places: int, share: float) -> int:
    """Places a column that may be chosen where ``share`` of all of them may be."""
    return min(places, 1 + int(_DEPTH * share * places))


def choose(proposals: list[Proposal], budget: int) -> dict[int, tuple[Ints, npt.NDArray[Any]]]:
    """The ``budget`` writes that pay most: cells and levels by layer."""
    gains = np.concatenate([proposal.gain for proposal in proposals])
    # Stable: of equal gains the earlier one.
    best = np.argsort(-gains, kind="stable")[:budget]
    taken = np.zeros(len(gains), np.bool_)
    taken[best] = True
    chosen, start = {}, 0
    for proposal in proposals:
        inside = taken[start : start + len(proposal.gain)]
        start += len(proposal.gain)
        chosen[proposal.layer] = (proposal.cells[inside], proposal.levels[inside])
    return chosen


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
        book, chip, cells = image.codebook, image.chip, image.cells(layer)
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
        fit = np.where(match > 0, match / np.where(power > 0, power, 1.0), fallback)[:, None, :]
        sigma = np.asarray(chip.cell.sigma.sigma_us(np.asarray(chip.cell.g_levels_us)))
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
