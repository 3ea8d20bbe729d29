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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.write.greedy import Columns, Found, sweep
from pimc.passes.recover.write.influence import Influence
from pimc.passes.recover.write.problem import Problem, most_a_column

__all__ = ["Proposal", "choose", "propose"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Most sweeps over a layer; the last asks for a millionth of what the best write gains.
_SWEEPS = 20


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


#: Gains, addresses and levels.
_Writes = tuple[Array64, Ints, Ints]


class _Part(NamedTuple):
    """Some columns of a layer.

    Attributes:
        address: (groups, cols, rows, planes) of the cells.
    """

    columns: Columns
    address: Ints
    room: Found

    def swept(self, least: float) -> tuple[Array64, Ints, Ints, Ints]:
        """The writes of one sweep that gain at least so much, and the rows of their weights."""
        room = self.room
        count = sweep(self.columns, least, room)
        place = np.unravel_index(room.place[:count], self.address.shape)
        return room.gain[:count].copy(), self.address[place], room.level[:count].copy(), place[2]


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
    most = most_a_column(layer.rows * layer.planes, share) * layer.groups * layer.cols
    parts: list[_Part] = []
    limit = 0.0
    for some, problem in Problem.parts(image, layer, estimate, influence, again):
        if worn is not None:
            problem.open_ &= ~layer.by_weight(worn)[:, :, some]
        worth = influence.sensitivity[:, some]
        limit = max(limit, problem.best(worth))
        columns = problem.columns(worth)
        parts.append(_Part(columns, problem.address.swapaxes(1, 2), Found.of(columns)))
    if limit <= 0:
        return Proposal(layer.index, np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint16))
    # Layers are compared by gain: all take the same steps.
    step = int(np.floor(np.log2(limit)))
    sweeps: list[_Writes] = []
    ceiling = np.inf
    for power in range(step, step - _SWEEPS, -1):
        found = [part.swept(2.0**power) for part in parts]
        gain, cells, levels, rows = (np.concatenate(each) for each in zip(*found, strict=True))
        # A write is worth no more than those of the sweeps before, which it may need.
        order = np.argsort(rows, kind="stable")
        sweeps.append((np.minimum(gain, ceiling)[order], cells[order], levels[order]))
        ceiling = 2.0**power
        if sum(len(cells) for _, cells, _ in sweeps) >= most:
            break
    gain, cells, levels = (np.concatenate(part) for part in zip(*sweeps, strict=True))
    order = np.argsort(-gain, kind="stable")
    return Proposal(layer.index, gain[order], cells[order], levels[order].astype(np.uint16))


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
