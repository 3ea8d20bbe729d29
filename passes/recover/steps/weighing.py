"""Weighing the layers: what choosing writes and digital weights begins with."""

from __future__ import annotations

import numpy as np

from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.write.influence import Influence, float_outputs, influences

__all__ = ["influences_of"]


def influences_of(bench: Bench, state: State) -> tuple[State, dict[int, Influence]]:
    """How much the layers matter, by number, and the state after what was drawn for it.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    count = min(bench.options.influence_images, len(bench.train))
    some = bench.train.subset(np.linspace(0, len(bench.train) - 1, count).astype(np.int64))
    student, generator = bench.student(state), state.generator()
    known = bench.common.once("outputs to weigh by", lambda: float_outputs(student, some))
    found = influences(student, bench.goal, some, generator, known=known, progress=bench.progress)
    return state.drawn(generator), found
