"""Writing cells: which, to what level, and looking at how they landed.

Where writes are chosen by what the chip told they are chosen in one step and done in the next, so
that none is done that is not noted before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from pimc.passes.recover.bench.bench import Bench, Step
from pimc.passes.recover.bench.judge import judge
from pimc.passes.recover.bench.state import NO_WRITES, Least, State, Writes
from pimc.passes.recover.estimate import prior, rewritten
from pimc.passes.recover.recovery import Stage
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
    "writing_ended",
]

#: How many times as many cells as the first all further rounds write.
_GROWTH = 2


def rewriting(rounds: int, *, part: float = 1.0) -> tuple[Step, ...]:
    """Steps of rewriting the cells that pay most, looking at how they landed, and again.

    No write can be undone: the first round is small, those after it grow while they pay, and one
    that does not pay is the last.

    Args:
        part: of the budget that they may use.
    """
    return tuple(
        step
        for number in range(1, rounds + 1)
        for step in (
            partial(_choose, number=number, part=part, rounds=rounds),
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

    Without the chip, writes that the twin expects nothing of are not proposed after all.

    Raises:
        DeviceError: the chip failed.
    """
    cells, _, number = state.proposed
    if not len(cells):
        return state.on_best()
    first, kept, least = len(state.stages), state.kept, state.least
    before = None if bench.has_chip else state
    estimates, state = dict(state.estimates), write_proposed(bench, replace(state, estimates={}))
    touched, asked = [], np.zeros(state.image.levels.size, np.bool_)
    asked[cells] = True
    for layer in state.image.layers:
        address, index = state.image.cells(layer), layer.index
        changed = (address >= 0) & asked[address]
        if changed.any():
            touched.append(index)
            estimates[index] = rewritten(estimates[index], state.image, layer, changed)
    states = [replace(state, estimates=estimates)]
    del estimates, state  # what is known of a layer goes as more is known
    if bench.has_chip:
        states.append(learn(bench, states.pop(), only=touched, number=number))
    loss = None if kept is None else kept.loss
    state = correct(bench, states.pop(), f"rewriting, round {number}", len(cells), loss)
    paid = _paid(least, state.stages[first:])
    if not paid and before is not None:
        return _taken_back(before, state.stages[first:])
    return state.paying(first, paid)


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


def _paid(before: Least | None, stages: Sequence[Stage]) -> bool:
    """Whether the best of what came of writes serves as well as the best before them.

    It may be worse by as much as the held-out samples leave open, one standard error of the
    difference: else few samples would end writing that pays.
    """
    if before is None:
        return True
    best = min(stages, key=lambda stage: stage.loss)
    return best.loss - before.loss <= (best.away_error or 0.0)


def writing_ended(state: State) -> bool:
    """Whether a round did not pay: no more is written."""
    return any(stage.paid is False for stage in state.stages)


def writes_left(bench: Bench, state: State, part: float = 1.0) -> int:
    """Writes that this part of the budget still allows."""
    allowed = int(part * bench.options.budget * state.image.used.sum())
    return allowed - sum(map(len, state.writes))


def _taken_back(before: State, tried: Sequence[Stage]) -> State:
    """The state before writes that were only tried in the twin, and what was seen of them."""
    stages = [
        replace(stage, name=f"{stage.name}, not proposed", cells_written=0, paid=False)
        for stage in tried
    ]
    clock = before.clock + sum(stage.seconds for stage in stages)
    return replace(
        before, stages=(*before.stages, *stages), proposed=NO_WRITES, clock=clock
    ).on_best()


def _share(left: int, number: int, rounds: int) -> int:
    """Writes of a round, one at least: the first begins with half as many as each that follows."""
    parts = [1 if n == 1 else _GROWTH for n in range(number, rounds + 1)]
    return max(left * parts[0] // sum(parts), 1)


def _choose(bench: Bench, state: State, *, number: int, part: float, rounds: int) -> State:
    """Lay out the writes of a round, if all before paid; the last takes what is left."""
    before = [int(writes[0, 3]) for writes in state.writes]
    if writing_ended(state) or (number > 1 and number - 1 not in before):
        return state  # nothing paid in the round before
    total = int(state.image.used.sum())
    left = writes_left(bench, state, part)
    if left <= 0:
        return state
    budget = _share(left, number, rounds)
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
