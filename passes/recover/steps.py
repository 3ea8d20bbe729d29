"""The steps that strategies are made of; each works on the bench and leaves it consistent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pimc.passes.recover.bench import Bench
from pimc.passes.recover.calibrate import calibrate, images_that_fit
from pimc.passes.recover.distill import Student, distill, influences
from pimc.passes.recover.identify import identify, prior, rewritten, row_correction
from pimc.passes.recover.rewrite import choose, propose
from pimc.passes.recover.twin import Twin
from pimc.runtime.capture import capture
from pimc.runtime.teacher import teacher_array


def learn(bench: Bench, *, only: Sequence[int] | None = None, number: int = 0) -> None:
    """Capture and bring the estimates up to date; each ``number`` sends probes of its own.

    A capture that lies ready on the bench is used first.

    Raises:
        DeviceError: the chip failed.
    """
    captured, bench.captured = bench.captured, None
    if captured is None:
        captured = capture(
            bench.session(),
            bench.train,
            replace(bench.options.capture, seed=bench.options.seed + number),
            outputs=False,
            only=only,
            progress=bench.progress,
        )
    for index, record in bench.progress(list(captured.layers.items()), "identifying cells"):
        layer = bench.image.layers[index]
        bench.estimates[index] = identify(bench.estimates[index], bench.image, layer, record)


def correct_rows(bench: Bench) -> None:
    """Take off digitally what the reference columns are estimated to add."""
    corrections = {
        layer.index: row_correction(bench.estimates[layer.index], bench.image, layer)
        for layer in bench.image.layers
    }
    bench.image = bench.image.updated(
        columns={
            index: {"row_correction": value}
            for index, value in corrections.items()
            if value is not None
        }
    )


def fit_columns(bench: Bench) -> None:
    """Fit every column's gain and offset to the float network, layer by layer."""
    session, teacher = bench.session(), teacher_array(bench.image)
    one = torch.from_numpy(bench.train.batch(0, 1))
    count = images_that_fit(session, teacher, one, bench.options.calibrate_images)
    chosen = np.linspace(0, len(bench.train) - 1, min(count, len(bench.train))).astype(np.int64)
    inputs = torch.from_numpy(bench.train.subset(chosen).all())
    bench.image = calibrate(session, teacher, inputs, bench.array())


def rewrite(bench: Bench) -> None:
    """Rewrite the cells that pay most, look at how they landed, and again."""
    left = int(bench.options.budget * int(bench.image.used.sum()))
    rounds = bench.options.rounds if bench.device is not None else min(1, bench.options.rounds)
    for number in range(1, rounds + 1):
        share = left if number == rounds else left // 2
        done = _one_round(bench, share, number)
        if not done:
            return
        left -= done
        correct_rows(bench)
        fit_columns(bench)
        bench.judge(f"rewriting, round {number}", done)


def rewrite_all(bench: Bench, number: int = 1) -> int:
    """Write every cell again to the level that it is asked to hold.

    Returns:
        How many cells were written.

    Raises:
        DeviceError: the chip failed.
    """
    cells = np.flatnonzero(bench.image.used)
    done = bench.write(cells, bench.image.levels.reshape(-1)[cells], number)
    bench.estimates = {layer.index: prior(bench.image, layer) for layer in bench.image.layers}
    return done


def train_columns(bench: Bench) -> None:
    """Train the digital side through the twin; every epoch is judged on the chip."""
    student = _student(bench)

    def judge(epoch: int) -> bool:
        """Whether it is worth going on."""
        bench.image = bench.image.updated(columns=student.twin.columns())
        bench.judge(f"distilling, epoch {epoch + 1}")
        return len(bench.stages) - 1 - bench.best() < bench.options.patience

    distill(
        student,
        bench.goal,
        bench.train,
        bench.options.distill,
        bench.generator,
        judge=judge,
        progress=bench.progress,
    )


def _one_round(bench: Bench, budget: int, number: int) -> int:
    student = _student(bench)
    count = min(bench.options.influence_images, len(bench.train))
    chosen = np.linspace(0, len(bench.train) - 1, count).astype(np.int64)
    weights = influences(
        student, bench.goal, bench.train.subset(chosen), bench.generator, progress=bench.progress
    )
    # Without the chip the next image is all that says what to write, and programming it
    # leaves cells alone that were asked for the same level before.
    again = bench.device is not None
    proposals = [
        propose(
            bench.image,
            layer,
            bench.estimates[layer.index],
            weights[layer.index],
            share=budget / max(int(bench.image.used.sum()), 1),
            again=again,
        )
        for layer in bench.progress(bench.image.layers, "choosing cells")
    ]
    picked = choose(proposals, budget)
    cells = np.concatenate([cells for cells, _ in picked.values()])
    levels = np.concatenate([levels for _, levels in picked.values()])
    done = bench.write(cells, levels, number)
    touched = [index for index, (some, _) in picked.items() if len(some)]
    for index in touched:
        layer = bench.image.layers[index]
        changed = np.isin(bench.image.cells(layer), picked[index][0])
        bench.estimates[index] = rewritten(bench.estimates[index], bench.image, layer, changed)
    if done and bench.device is not None:
        learn(bench, only=touched, number=number)
    return done


def _student(bench: Bench) -> Student:
    session = bench.session()
    return Student(
        session.executor,
        Twin.of(bench.image, bench.estimates),
        teacher_array(bench.image),
        session.get_inputs()[0].name,
        tuple(arg.name for arg in session.get_outputs()),
    )
