"""Making up digitally for what is known of the cells; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.judge import enough, judge
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.digital.calibrate import Fit, as_spread, calibrate, nearest
from pimc.passes.recover.digital.ranges import fit_ranges
from pimc.passes.recover.digital.rows import row_correction
from pimc.passes.recover.steps.weighing import influences_of
from pimc.passes.recover.write.residual import add_residual
from pimc.runtime.feeds import Feed, tensors
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

__all__ = ["add_digital", "correct", "fit_columns", "tune_ranges"]

_COLUMNS = "column gain and offset"
#: Both are tried: where errors are large the second serves deep networks better.
_FITS: Mapping[str, Fit] = {"": nearest, ", spread of the float network": as_spread}


def correct(
    bench: Bench,
    state: State,
    name: str = _COLUMNS,
    written: int = 0,
    least: float | None = None,
) -> State:
    """Take off what the reference columns are estimated to add, fit the columns, judge.

    Columns fitted one by one can serve the network less than those that were compiled together,
    so where the fit loses, the columns as they were are judged, too; the best is gone on from.

    Args:
        name: of the stage.
        written: cells that were written on the way to it.
        least: loss before that; None for that of the present cells.
    """
    before = least if state.kept is None else state.kept.loss
    rows, first = _without_row_errors(state), len(state.stages)
    found = _fitted(bench, rows, name, written)
    others = [("columns as before", rows.image), ("rows and columns as before", state.image)]
    if state.kept is not None:
        others.pop()  # that is the one it came from
    for what, image in others:
        if before is None or min(stage.loss for stage in found.stages[first:]) <= before:
            break
        found = judge(bench, replace(found, image=image), f"{name}, {what}")
    return found.on_best()


def fit_columns(bench: Bench, state: State) -> State:
    """Fit every column's gain and offset to the float network and judge."""
    return _fitted(bench, state, _COLUMNS, 0).on_best()


def tune_ranges(bench: Bench, state: State) -> State:
    """Where it is asked for, try ranges of the converters, keep what serves, correct and judge."""
    if "ranges" not in bench.options.train:
        return state
    session, teacher, inputs = _calibration(bench, state)
    return correct(
        bench, replace(state, image=fit_ranges(session, teacher, inputs)), "converter ranges"
    )


def add_digital(bench: Bench, state: State, *, share: float) -> State:
    """Let the digital side add the weights that take most off, correct and judge.

    Args:
        share: weights it may add, as a part of all.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    count = int(share * sum(v.groups * v.rows * v.cols for v in state.image.layers))
    state, weights = influences_of(bench, state)
    image = add_residual(state.image, state.estimates, weights, count, progress=bench.progress)
    return correct(bench, replace(state, image=image), "digital residual")


def _without_row_errors(state: State) -> State:
    corrections = {
        layer.index: row_correction(state.estimates[layer.index], state.image, layer)
        for layer in state.image.layers
    }
    layers = (
        replace(state.image.layers[index], row_correction=value)
        for index, value in corrections.items()
        if value is not None
    )
    return replace(state, image=state.image.with_layers(layers))


def _fitted(bench: Bench, state: State, name: str, written: int) -> State:
    """The columns fitted, and judged."""
    session, teacher, inputs = _calibration(bench, state)
    array, wanted = bench.array(state), bench.taught.of(session, teacher, inputs)
    for what, fit in _FITS.items():
        image = calibrate(session, teacher, inputs, array, fit=fit, wanted=wanted)
        state = judge(bench, replace(state, image=image), f"{name}{what}", written)
        written = 0  # they are told once
        if enough(bench, state):
            break
    return state


def _calibration(bench: Bench, state: State) -> tuple[Session, ArrayCall, Feed]:
    """The chip, the float network, and as many inputs as both can be compared on at once.

    The inputs are the same each time.
    """
    session, teacher = bench.session(state), teacher_array(state.image)
    count = bench.compared.calibrate.used
    chosen = np.linspace(0, len(bench.train) - 1, count).astype(np.int64)
    return session, teacher, tensors(bench.train.subset(chosen).all_inputs())
