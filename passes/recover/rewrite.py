"""Rewrite: which few cells to write again, and to what level.

For a layer with input second moments H, a column's output error is rᵀ H r, where r is what
its weights are away from the float network's. Moving one weight by δ changes that by
2 δ (H r)_k + δ² H_kk; a write lands with variance σ², which adds σ² H_kk. So the expected
gain of every possible write is known, also of those that make up for the errors of cells that
stay as they are. Cells are taken greedily, largest gain times the column's share in the loss
first (the second-order view of Optimal Brain Surgeon, Hassibi and Stork 1992).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.image import Image, ImageLayer
from pimc.passes.recover.identify import CellEstimate, reference_error, stuck

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A column may get so many times the average column's share of a round's writes.
_DEPTH = 4.0


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
        gain: expected fall of the loss of each write, never rising within a column.
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
) -> Proposal:
    """Every write of a layer that is expected to pay, with what it should gain.

    Args:
        share: part of all cells that the round may write; bounds how many a column proposes.
        again: cells may be written once more to the level they were asked to hold.
    """
    problem = Problem.of(image, layer, estimate, influence, again)
    steps = most_a_column(layer.rows * layer.planes, share)
    gains, cells, levels = [], [], []
    for _ in range(steps):
        gain, cell, level = problem.take_best()
        gains.append(gain * influence.sensitivity)
        cells.append(cell)
        levels.append(level)
        if not (gain > 0).any():
            break
    # A write is worth no more than the ones its column needs before it.
    gain = np.minimum.accumulate(np.stack(gains), axis=0)
    worth = gain > 0
    return Proposal(
        layer.index, gain[worth], np.stack(cells)[worth], np.stack(levels)[worth].astype(np.uint16)
    )


def most_a_column(places: int, share: float) -> int:
    """How many of a column's places may be chosen where ``share`` of all of them may be."""
    return min(places, 1 + int(_DEPTH * share * places))


def choose(proposals: list[Proposal], budget: int) -> dict[int, tuple[Ints, npt.NDArray[Any]]]:
    """The ``budget`` writes that pay most: cells and levels by layer."""
    gains = np.concatenate([proposal.gain for proposal in proposals])
    # Stable: of equal gains the earlier one, which the later ones of its column need.
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

    def take_best(self) -> tuple[Array64, Ints, Ints]:
        """Take each column's best write: expected gain (groups, cols), address and level."""
        pull = self.residual_pull[..., None]
        weight = np.einsum("gkk->gk", self.moments)[:, :, None, None]
        safe = np.where(weight > 0, weight, 1.0)
        wish = self.held_us - pull / safe / self.unit
        middles = (self.levels_us[1:] + self.levels_us[:-1]) / 2
        level = np.searchsorted(middles, wish)
        move = self.unit * (self.levels_us[level] - self.held_us)
        landing = self.unit**2 * (self.sigma_us[level] ** 2 - self.spread)
        gain = -(2 * move * pull + (move**2 + landing) * weight)
        allowed = self.open_ if self.barred is None else self.open_ & (level != self.barred)
        gain = np.where(allowed, gain, -np.inf)
        groups, rows, cols, planes = gain.shape
        flat = gain.transpose(0, 2, 1, 3).reshape(groups, cols, rows * planes)
        best = flat.argmax(axis=2)
        row, plane = best // planes, best % planes
        group, col = np.ogrid[:groups, :cols]
        at = (group, row, col, plane)
        self.open_[at] = False
        moved = np.where(np.isfinite(gain[at]), move[at], 0.0)
        self.residual_pull += np.swapaxes(self.moments[group, row], 1, 2) * moved[:, None, :]
        return gain[at], self.address[at], level[at]
