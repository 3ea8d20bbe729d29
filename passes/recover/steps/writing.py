"""Writing cells: which, to what level, and looking at how they landed.

Where writes are chosen by what the chip told they are chosen in one step and done in the next, so
that none is done that is not noted before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from pimc.passes.recover.bench.bench import Bench, Step
from pimc.passes.recover.bench.judge import judge
from pimc.passes.recover.bench.state import State, Writes
from pimc.passes.recover.estimate import prior, rewritten
from pimc.passes.recover.steps.correcting import correct
from pimc.passes.recover.steps.learning import learn
from pimc.passes.recover.steps.weighing import influences_of
from pimc.passes.recover.write.choose import choose, propose
from pimc.runtime.door.endurance import worn
from pimc.runtime.door.program import write

__all__ = [
    "rewrite_all",
    "rewriting",
    "worn_cells",
    "write_and_look",
    "write_proposed",
    "writes_left",
]


def rewriting(rounds: int, *, part: float = 1.0) -> tuple[Step, ...]:
    """Steps of rewriting the cells that pay most, looking at how they landed, and again.

    Args:
        part: of the budget that they may use.
    """
    return tuple(
        step
        for number in range(1, rounds + 1)
        for step in (
            partial(_choose, number=number, part=part, last=number == rounds),
            write_and_look,
        )
    )


def rewrite_all(bench: Bench, state: State) -> State:
    """Write every cell again to the level that it is asked to hold, and judge.

    Raises:
        DeviceError: the chip failed.
    """
    cells = np.flatnonzero(state.image.used)
    every = Writes(cells, state.image.levels.reshape(-1)[cells], 1)
    state = write_proposed(bench, replace(state, proposed=every))
    estimates = {layer.index: prior(state.image, layer) for layer in state.image.layers}
    state = replace(state, estimates=estimates)
    return judge(bench, state, "every cell written again", len(cells))


def write_and_look(bench: Bench, state: State) -> State:
    """Do the proposed writes, capture the layers that were touched, correct and judge.

    Raises:
        DeviceError: the chip failed.
    """
    cells, _, number = state.proposed
    if not len(cells):
        return state
    state = write_proposed(bench, state)
    estimates = dict(state.estimates)
    touched = []
    for layer in state.image.layers:
        changed = np.isin(state.image.cells(layer), cells)
        if changed.any():
            touched.append(layer.index)
            known = estimates[layer.index]
            estimates[layer.index] = rewritten(known, state.image, layer, changed)
    state = replace(state, estimates=estimates)
    if bench.has_chip:
        state = learn(bench, state, only=touched, number=number)
    return correct(bench, state, f"rewriting, round {number}", len(cells))


def write_proposed(bench: Bench, state: State) -> State:
    """Do the proposed writes; without the chip they are only noted.

    Raises:
        DeviceError: the chip failed, or cells endure no further write.
    """
    if bench.device is not None:
        cells, levels, _ = state.proposed
        limit = state.image.chip.programming.endurance_writes
        write(bench.device, cells, levels, limit=limit, before=state.all_writes()[:, 0])
    return state.written()


def worn_cells(bench: Bench, state: State, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of some cells endure no further write."""
    limit = state.image.chip.programming.endurance_writes
    return worn(bench.device, cells, limit, state.all_writes()[:, 0])


def writes_left(bench: Bench, state: State, part: float = 1.0) -> int:
    """Writes that this part of the budget still allows."""
    allowed = int(part * bench.options.budget * state.image.used.sum())
    return allowed - sum(map(len, state.writes))


def _choose(bench: Bench, state: State, *, number: int, part: float, last: bool) -> State:
    """Lay out the writes of a round: half of what is left of the budget, in the last all of it."""
    before = [int(writes[0, 3]) for writes in state.writes]
    if number > 1 and number - 1 not in before:
        return state  # nothing paid in the round before
    total = int(state.image.used.sum())
    left = writes_left(bench, state, part)
    if left <= 0:
        return state
    budget = left if last else left // 2
    state, weights = influences_of(bench, state)
    proposals = [
        propose(
            state.image,
            layer,
            state.estimates[layer.index],
            weights[layer.index],
            share=budget / max(total, 1),
            # Without the chip the next image is all that says what to write, and programming
            # it leaves cells alone that were asked for the same level before.
            again=bench.has_chip,
            worn=worn_cells(bench, state, state.image.cells(layer)),
        )
        for layer in bench.progress(state.image.layers, "choosing cells")
    ]
    cells, levels = zip(*choose(proposals, budget).values(), strict=True)
    return replace(state, proposed=Writes(np.concatenate(cells), np.concatenate(levels), number))
