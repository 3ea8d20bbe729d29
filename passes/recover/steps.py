"""The steps that strategies are made of; each works on the bench and leaves it consistent.

A step that was cut can be done again from its start on the bench as it was then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from pimc.files.atomic import sha256_array
from pimc.image.image import Image
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.distill import distill, influences
from pimc.passes.recover.forward import through_chip, with_noise
from pimc.passes.recover.harden import HardenOptions, harden
from pimc.passes.recover.identify import prior, rewritten
from pimc.passes.recover.knowing import correct, learn, student_of
from pimc.passes.recover.layerwise import LayerwiseOptions, train_and_write
from pimc.passes.recover.levels import LevelOptions, train_levels
from pimc.passes.recover.residual import add_residual
from pimc.passes.recover.rewrite import Influence, choose, propose
from pimc.passes.recover.twin import Twin
from pimc.runtime.graph.executor import ArrayCall

Step = Callable[[Bench], None]


def rewriting(rounds: int, *, part: float = 1.0) -> tuple[Step, ...]:
    """Steps of rewriting the cells that pay most, looking at how they landed, and again.

    Writes are chosen in one step and done in the next, so that no write is done that is not
    noted before.

    Args:
        part: of the budget that they may use.
    """
    return tuple(
        step
        for number in range(1, rounds + 1)
        for step in (
            partial(_choose, number=number, part=part, last=number == rounds),
            _write_chosen,
        )
    )


def training_levels(number: int, options: LevelOptions | None = None) -> tuple[Step, ...]:
    """Steps of training which cells to write and to what, within the budget, and writing them.

    Args:
        number: of the round.
    """
    chosen = partial(_choose_by_training, number=number, options=options or LevelOptions())
    return chosen, _write_chosen


def add_digital(bench: Bench, *, share: float) -> None:
    """Let the digital side add the weights that take most off, correct and judge.

    Args:
        share: weights it may add, as a part of all.
    """
    count = int(share * sum(v.groups * v.rows * v.cols for v in bench.image.layers))
    bench.image = add_residual(
        bench.image, bench.estimates, _influences(bench), count, progress=bench.progress
    )
    correct(bench, "digital residual")


def rewrite_all(bench: Bench) -> None:
    """Write every cell again to the level that it is asked to hold, and judge.

    Raises:
        DeviceError: the chip failed.
    """
    cells = np.flatnonzero(bench.image.used)
    bench.chosen = cells, bench.image.levels.reshape(-1)[cells], 1
    done = bench.write()
    bench.estimates = {layer.index: prior(bench.image, layer) for layer in bench.image.layers}
    bench.judge("every cell written again", done)


def write_hardened(bench: Bench, *, options: HardenOptions) -> None:
    """Train the weights under write errors, write every cell that changes, and judge.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    trained = _hardened(bench, options)
    cells = np.flatnonzero(trained.levels != bench.image.levels)
    bench.chosen = cells, trained.levels.reshape(-1)[cells], 1
    done = bench.write()
    names = {layer.index: {"bias": layer.bias} for layer in trained.layers}
    bench.image = bench.image.updated(columns=names)
    bench.judge("hardened weights written", done)


#: The last hardened image by what it was made of: it does not depend on the die, and takes long.
_HARDENED: dict[tuple[object, ...], Image] = {}


def _hardened(bench: Bench, options: HardenOptions) -> Image:
    chosen = bench.options.seed, bench.options.task
    key = (bench.image.sha256, options, *chosen, sha256_array(bench.train.all()))
    if key not in _HARDENED:
        _HARDENED.clear()
        _HARDENED[key] = harden(
            bench.image,
            student_of(bench),
            bench.goal,
            bench.train,
            bench.held_out,
            options,
            torch.Generator().manual_seed(bench.options.seed),
            progress=bench.progress,
        )
    return _HARDENED[key]


def write_layer_by_layer(bench: Bench, *, options: LayerwiseOptions) -> None:
    """Train what follows each layer on what the chip gives, write it, and judge at the end.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    done = train_and_write(bench, student_of(bench), options)
    bench.judge("layer by layer", done)


def train_columns(bench: Bench) -> None:
    """Train the digital side through the twin; every epoch is judged on the chip."""
    if not {"gain", "bias"} & set(bench.options.train):
        return
    student = student_of(bench)

    def judge(epoch: int) -> bool:
        """Whether it is worth going on."""
        bench.image = bench.image.updated(columns=student.twin.columns())
        bench.judge(f"distilling, epoch {epoch + 1}")
        return bench.stages_since_best() < bench.options.patience

    distill(
        student,
        bench.goal,
        bench.train,
        bench.options.distill,
        bench.generator,
        array=_forward(bench, student.twin),
        train=bench.options.train,
        judge=judge,
        progress=bench.progress,
    )


def _forward(bench: Bench, twin: Twin) -> ArrayCall:
    """What layers give while the digital side is trained."""
    if bench.options.distill.forward == "twin":
        return twin
    if bench.has_chip:
        return through_chip(twin, bench.session().layers)
    return with_noise(twin, bench.generator)


def _choose_by_training(bench: Bench, *, number: int, options: LevelOptions) -> None:
    if (left := _left(bench)) <= 0:
        return
    cells, levels, bench.image = train_levels(
        bench.image,
        bench.estimates,
        student_of(bench),
        bench.goal,
        bench.train,
        options,
        bench.generator,
        left,
        progress=bench.progress,
    )
    endure = ~bench.worn(cells)
    cells, levels = cells[endure], levels[endure]
    if not bench.has_chip:
        # The next image is all that says what to write.
        differ = bench.image.levels.reshape(-1)[cells] != levels
        cells, levels = cells[differ], levels[differ]
    bench.chosen = cells, levels, number


def _left(bench: Bench, part: float = 1.0) -> int:
    """Writes that this part of the budget still allows."""
    allowed = int(part * bench.options.budget * bench.image.used.sum())
    return allowed - sum(map(len, bench.writes))


def _choose(bench: Bench, *, number: int, part: float, last: bool) -> None:
    """Lay out the writes of a round: half of what is left of the budget, in the last all of it."""
    before = [int(writes[0, 3]) for writes in bench.writes]
    if number > 1 and number - 1 not in before:
        return  # nothing paid in the round before
    total = int(bench.image.used.sum())
    left = _left(bench, part)
    if left <= 0:
        return
    budget = left if last else left // 2
    weights = _influences(bench)
    proposals = [
        propose(
            bench.image,
            layer,
            bench.estimates[layer.index],
            weights[layer.index],
            share=budget / max(total, 1),
            # Without the chip the next image is all that says what to write, and programming
            # it leaves cells alone that were asked for the same level before.
            again=bench.has_chip,
            worn=bench.worn(bench.image.cells(layer)),
        )
        for layer in bench.progress(bench.image.layers, "choosing cells")
    ]
    picked = choose(proposals, budget).values()
    cells = np.concatenate([cells for cells, _ in picked])
    bench.chosen = cells, np.concatenate([levels for _, levels in picked]), number


def _influences(bench: Bench) -> dict[int, Influence]:
    count = min(bench.options.influence_images, len(bench.train))
    some = bench.train.subset(np.linspace(0, len(bench.train) - 1, count).astype(np.int64))
    return influences(student_of(bench), bench.goal, some, bench.generator, progress=bench.progress)


def _write_chosen(bench: Bench) -> None:
    """Write what was chosen, capture the layers that were touched, correct and judge."""
    cells, _, number = bench.chosen
    done = bench.write()
    if not done:
        return
    touched = []
    for layer in bench.image.layers:
        changed = np.isin(bench.image.cells(layer), cells)
        if changed.any():
            touched.append(layer.index)
            known = bench.estimates[layer.index]
            bench.estimates[layer.index] = rewritten(known, bench.image, layer, changed)
    if bench.has_chip:
        learn(bench, only=touched, number=number)
    correct(bench, f"rewriting, round {number}", done)
