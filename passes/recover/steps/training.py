"""Training: the digital side of a die, its levels, or the whole network before it is written."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pimc.passes.recover.bench.bench import Bench, Step
from pimc.passes.recover.bench.judge import as_good_as_perfect, clear_change, judge, measured
from pimc.passes.recover.bench.state import State, Writes
from pimc.passes.recover.steps.writing import (
    worn_cells,
    write_and_look,
    write_proposed,
    writes_left,
    writing_ended,
)
from pimc.passes.recover.train.distill import distill
from pimc.passes.recover.train.harden import HardenOptions
from pimc.passes.recover.train.layerwise import LayerwiseOptions, train_rest
from pimc.passes.recover.train.levels import LevelOptions, train_levels
from pimc.passes.recover.twin.forward import through_chip, with_noise
from pimc.passes.recover.twin.lessons import lessons
from pimc.passes.recover.twin.noisy import NoisyLayer, written
from pimc.passes.recover.twin.twin import Twin
from pimc.runtime.feeds import tensors
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["train_columns", "training_levels", "write_hardened", "write_layer_by_layer"]

#: Steps from which on an epoch is long.
_MANY_STEPS = 16


def train_columns(bench: Bench, state: State) -> State:
    """Train the digital side through the twin; every epoch is judged on the chip.

    Where epochs are long it goes on as long as each gains more than the held-out samples leave
    open, and does not begin where cells serve as well as perfect ones. Short ones may lead
    anywhere: it ends where none was better for long, or where none was ever better and one is
    clearly worse than the die was.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    if not {"gain", "bias"} & set(bench.options.train):
        return state
    long = len(bench.train) >= _MANY_STEPS * bench.options.distill.batch_size
    if long and as_good_as_perfect(bench, state):
        return state
    student, generator, since = bench.student(state), state.generator(), state.stages_since_best

    def judged(epoch: int) -> bool:
        """Whether it is worth going on."""
        nonlocal state
        state, kept = replace(state, image=student.twin.on(state.image)), state.kept
        stage, each = measured(bench, state, f"distilling, epoch {epoch + 1}")
        none_before = state.stages_since_best - since == epoch
        change = clear_change(kept, stage, each)
        state = state.judged(stage, each)
        if long and change is not None:
            return change > 0
        lost = none_before and change == -1
        return not lost and min(state.stages_since_best, epoch + 1) < bench.options.patience

    # They are of the float network, and of no die.
    known = bench.common.once("lessons", lambda: lessons(student, bench.train))
    distill(
        student,
        bench.goal,
        bench.train,
        bench.options.distill,
        generator,
        array=_forward(bench, state, student.twin, generator),
        train=bench.options.train,
        judge=judged,
        known=known,
        progress=bench.progress,
    )
    return state.drawn(generator)


def training_levels(number: int, options: LevelOptions | None = None) -> tuple[Step, ...]:
    """Steps of training which cells to write and to what, within the budget, and writing them.

    Args:
        number: of the round.
    """
    chosen = partial(_choose_by_training, number=number, options=options or LevelOptions())
    return chosen, write_and_look


def write_hardened(bench: Bench, state: State, *, options: HardenOptions) -> State:
    """Train the weights under write errors, write every cell that changes, and judge.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    trained = bench.common.hardened.hardened(
        state.image,
        bench.student(state),
        bench.goal,
        bench.train,
        bench.held_out,
        options,
        bench.options.seed,
        progress=bench.progress,
    )
    cells = np.flatnonzero(trained.levels != state.image.levels)
    proposed = Writes(cells, trained.levels.reshape(-1)[cells], 1)
    state = write_proposed(bench, replace(state, proposed=proposed))
    pairs = zip(state.image.layers, trained.layers, strict=True)
    biased = state.image.with_layers(replace(own, bias=new.bias) for own, new in pairs)
    state = replace(state, image=biased)
    return judge(bench, state, "hardened weights written", len(cells))


def write_layer_by_layer(bench: Bench, state: State, *, options: LayerwiseOptions) -> State:
    """Train what follows each layer, then write the next; the first stays. Judge at the end.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    student, generator = bench.student(state), state.generator()
    student.check_gradients()
    _, features = student.teach(tensors(bench.train.feed(0, 1)))
    noisy = {layer.name: NoisyLayer.of(state.image, layer) for layer in state.image.layers}
    order, before = list(dict.fromkeys(name for name, _ in features)), len(state.all_writes())
    for number in bench.progress(range(1, len(order)), "layer by layer", len(order) - 1):
        rest = {name: noisy[name] for name in order[number:]}
        chip = bench.session(state).layers
        train_rest(student, rest, chip, bench.goal, bench.train, options, generator)
        state = _write_layer(bench, state, noisy[order[number]], number)
    done = len(state.all_writes()) - before
    return judge(bench, state.drawn(generator), "layer by layer", done)


def _write_layer(bench: Bench, state: State, layer: NoisyLayer, number: int) -> State:
    trained = written(state.image, [layer])
    cells = np.flatnonzero(trained.levels != state.image.levels)
    proposed = Writes(cells, trained.levels.reshape(-1)[cells], number)
    state = write_proposed(bench, replace(state, proposed=proposed))
    index = layer.layer.index
    biased = replace(state.image.layers[index], bias=trained.layers[index].bias)
    return replace(state, image=state.image.with_layers([biased]))


def _forward(bench: Bench, state: State, twin: Twin, generator: torch.Generator) -> ArrayCall:
    """What layers give while the digital side is trained."""
    if bench.options.distill.forward == "twin":
        return twin
    if bench.has_chip:
        return through_chip(twin, bench.session(state).layers)
    return with_noise(twin, generator)


def _choose_by_training(bench: Bench, state: State, *, number: int, options: LevelOptions) -> State:
    left = writes_left(bench, state)
    if left <= 0 or writing_ended(state):
        return state
    student, generator = bench.student(state), state.generator()
    cells, levels, image = train_levels(
        state.image,
        state.estimates,
        student,
        bench.goal,
        bench.train,
        options,
        generator,
        left,
        progress=bench.progress,
    )
    endure = ~worn_cells(bench, state, cells)
    cells, levels = cells[endure], levels[endure]
    if not bench.has_chip:
        # The next image is all that says what to write.
        differ = image.levels.reshape(-1)[cells] != levels
        cells, levels = cells[differ], levels[differ]
    proposed = Writes(cells, levels, number)
    return replace(state, image=image, proposed=proposed).drawn(generator)
