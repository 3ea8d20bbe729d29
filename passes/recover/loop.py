"""The recovery loop: capture, identify, correct, rewrite, capture again, distill."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.data import Dataset
from pimc.errors import CaptureError, DataError, ImageError, UsageError
from pimc.image import Image
from pimc.passes.recover.calibrate import calibrate, images_that_fit
from pimc.passes.recover.distill import DistillOptions, Student, distill, influences
from pimc.passes.recover.identify import (
    CellEstimate,
    identify,
    prior,
    rewritten,
    row_correction,
)
from pimc.passes.recover.objective import Goal, Outputs, Task
from pimc.passes.recover.rewrite import choose, propose
from pimc.passes.recover.twin import Twin
from pimc.progress import Progress, silent
from pimc.runtime.capture import Capture, CaptureOptions, capture
from pimc.runtime.device import Device
from pimc.runtime.executor import ArrayCall
from pimc.runtime.program import write
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.runtime.teacher import has_teacher, teacher_array

#: Fewest calibration samples a recovery can work with.
MIN_SAMPLES = 16


@dataclass(frozen=True)
class RecoverOptions:
    """What a recovery may do.

    Attributes:
        budget: writes allowed, as a part of the image's cells.
        rounds: how many times cells are rewritten and captured again; each round takes half of
            what is left of the budget, the last one all of it.
        holdout: part of the calibration data on which checkpoints are chosen.
        influence_images: images on which the layers are weighed.
        calibrate_images: images on which gains and offsets are fitted.
        patience: epochs without a better checkpoint after which distillation stops.
        task: what the outputs are; judged by their shape if None.
        seed: seed of every choice.
    """

    budget: float = 0.10
    rounds: int = 3
    holdout: float = 0.1
    influence_images: int = 512
    calibrate_images: int = 256
    patience: int = 3
    task: Task | None = None
    seed: int = 0
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    distill: DistillOptions = field(default_factory=DistillOptions)


@dataclass(frozen=True)
class Stage:
    """One step of a recovery as the report tells it.

    Attributes:
        loss: the objective on held-out calibration data, measured on the chip.
        agreement: share of held-out samples for which chip and float network choose the same
            class; None for values.
        cells_written: writes of this step.
        kept: the digital side of this step is that of the result.
    """

    name: str
    loss: float
    agreement: float | None
    cells_written: int
    seconds: float
    kept: bool = False


@dataclass(frozen=True)
class Recovery:
    """Result of a recovery.

    Attributes:
        measured: the loss was measured on the chip; else it is what the twin expects.
        image: the next image, with the digital side and the levels the die now holds.
        writes: (writes, 4) address of the cell, level before, level after, round.
    """

    image: Image
    writes: npt.NDArray[np.int64]
    stages: tuple[Stage, ...]
    seconds: float
    measured: bool

    @property
    def cells_rewritten(self) -> int:
        """Writes done; a cell written twice counts twice."""
        return len(self.writes)


@dataclass(eq=False)
class _Bench:
    """Everything a recovery has on its table."""

    device: Device | None
    options: RecoverOptions
    train: Dataset
    held_out: Dataset
    progress: Progress
    image: Image
    estimates: dict[int, CellEstimate]
    generator: torch.Generator
    wanted: Outputs
    goal: Goal
    #: Digital sides that fit the cells as they are now, by the stage that judged them.
    candidates: dict[int, Image] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    clock: float = field(default_factory=time.perf_counter)

    def session(self) -> Session:
        """The current image on the chip, or, without one, on perfect cells for its graph."""
        return Session(self.image, self.device)

    def array(self) -> ArrayCall | None:
        """What stands in for the chip where none is attached: the twin."""
        return None if self.device is not None else Twin.of(self.image, self.estimates)

    def judge(self, name: str, written: int = 0) -> Stage:
        """Measure the image on the chip and note it as a stage."""
        found = _outputs(self.session(), self.held_out, self.progress, "judging", self.array())
        loss = float(self.goal.loss(found, self.wanted))
        now = time.perf_counter()
        same = self.goal.agreement(found, self.wanted)
        stage = Stage(name, loss, same, written, now - self.clock)
        self.clock = now
        self.candidates[len(self.stages)] = self.image
        self.stages.append(stage)
        return stage

    def best(self) -> int:
        """The stage whose digital side serves the present cells best."""
        return min(self.candidates, key=lambda number: self.stages[number].loss)


def recover(
    image: Image,
    device: Device | None,
    data: Dataset,
    options: RecoverOptions | None = None,
    *,
    captured: Capture | None = None,
    progress: Progress = silent,
) -> Recovery:
    """Bring a programmed chip back to the float network's accuracy.

    Only the device's writes and reads are used; nothing is known of what its cells hold but
    what their columns return.

    Args:
        image: the image that the device holds.
        device: the chip. None where only a capture is at hand: then the twin stands in for it,
            and the writes are proposed in one round instead of being done and looked at.
        data: calibration inputs; labels are not used.
        captured: a capture taken of this image; else one is taken.

    Raises:
        UsageError: neither a device nor a capture.
        CaptureError: the capture is of another die.
        ImageError: the image holds no float weights to distill from.
        DataError: there are too few calibration samples.
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    start = time.perf_counter()
    die = _source(device, captured)
    bench = _prepare(image, device, data, options or RecoverOptions(), progress)
    bench.judge("as programmed")
    _learn(bench, captured)
    _correct(bench)
    bench.judge("column gain and offset")
    writes = _rewrite(bench)
    _distill(bench)
    found = bench.image.updated(
        recovery={
            "parent": image.sha256,
            "die": die,
            "cells_rewritten": len(writes),
            "rounds": int(writes[:, 3].max(initial=0)),
        }
    )
    seconds = time.perf_counter() - start
    return Recovery(found, writes, tuple(bench.stages), seconds, device is not None)


def _source(device: Device | None, captured: Capture | None) -> str:
    """Name of the die that is to be recovered."""
    names = [source for source in (device and device.name, captured and captured.die) if source]
    if not names:
        raise UsageError("there is neither a chip nor a capture", hint="name a die or a capture")
    if len(set(names)) > 1:
        raise CaptureError(
            f"this capture was taken of die {names[1]}", where=names[0], hint="capture this die"
        )
    return names[0]


def _prepare(
    image: Image, device: Device | None, data: Dataset, options: RecoverOptions, progress: Progress
) -> _Bench:
    if not has_teacher(image):
        raise ImageError(
            "the image holds no float weights to distill from",
            hint="compile without --no-teacher",
        )
    if len(data) < MIN_SAMPLES:
        raise DataError(
            f"{len(data)} calibration samples are too few",
            where=data.name,
            hint=f"give at least {MIN_SAMPLES}, better some hundreds",
        )
    held_out, train = data.split(options.holdout, np.random.default_rng(options.seed))
    session = Session(image, device)
    wanted = _outputs(
        session, held_out, progress, "running the float network", teacher_array(image)
    )
    return _Bench(
        device=device,
        options=options,
        train=train,
        held_out=held_out,
        progress=progress,
        image=image,
        estimates={layer.index: prior(image, layer) for layer in image.layers},
        generator=torch.Generator().manual_seed(options.seed),
        wanted=wanted,
        goal=Goal.of(options.task, wanted),
    )


def _outputs(
    session: Session, data: Dataset, progress: Progress, what: str, array: ArrayCall | None
) -> Outputs:
    """The network's outputs for all of ``data``."""
    feed = session.get_inputs()[0].name
    names = [arg.name for arg in session.get_outputs()]
    starts = range(0, len(data), BATCH_SIZE)
    parts = [
        session.evaluate(
            {feed: torch.from_numpy(data.batch(start, start + BATCH_SIZE))},
            want=names,
            array=array,
        )
        for start in progress(starts, what, len(starts))
    ]
    return [torch.cat([part[name] for part in parts]) for name in names]


def _learn(
    bench: _Bench,
    captured: Capture | None = None,
    only: list[int] | None = None,
    number: int = 0,
) -> None:
    """Capture and bring the estimates up to date; each ``number`` sends probes of its own."""
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


def _correct(bench: _Bench) -> None:
    """Take off what the reference columns add, then fit every column's gain and offset."""
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
    session, teacher = bench.session(), teacher_array(bench.image)
    one = torch.from_numpy(bench.train.batch(0, 1))
    count = images_that_fit(session, teacher, one, bench.options.calibrate_images)
    chosen = np.linspace(0, len(bench.train) - 1, min(count, len(bench.train))).astype(np.int64)
    inputs = torch.from_numpy(bench.train.subset(chosen).all())
    bench.image = calibrate(session, teacher, inputs, bench.array())


def _rewrite(bench: _Bench) -> npt.NDArray[np.int64]:
    """Rewrite the cells that pay most, look at how they landed, and again."""
    left = int(bench.options.budget * int(bench.image.used.sum()))
    writes: list[npt.NDArray[np.int64]] = [np.empty((0, 4), np.int64)]
    rounds = bench.options.rounds if bench.device is not None else min(1, bench.options.rounds)
    for number in range(rounds):
        last = number == rounds - 1
        share = left if last else left // 2
        done = _one_round(bench, share, number + 1)
        left -= len(done)
        writes.append(done)
        if not len(done):
            break
        _correct(bench)
        bench.judge(f"rewriting, round {number + 1}", len(done))
    return np.concatenate(writes)


def _one_round(bench: _Bench, budget: int, number: int) -> npt.NDArray[np.int64]:
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
    if not len(cells):
        return np.empty((0, 4), np.int64)
    target = bench.image.levels.copy()
    before = target.reshape(-1)[cells].astype(np.int64)
    target.reshape(-1)[cells] = levels
    if bench.device is not None:
        write(bench.device, cells, levels)
    bench.image = bench.image.updated(levels=target)
    touched = [index for index, (some, _) in picked.items() if len(some)]
    for index in touched:
        layer = bench.image.layers[index]
        changed = np.isin(bench.image.cells(layer), picked[index][0])
        bench.estimates[index] = rewritten(bench.estimates[index], bench.image, layer, changed)
    bench.candidates.clear()
    if bench.device is not None:
        _learn(bench, only=touched, number=number)
    return np.stack([cells, before, levels, np.full(len(cells), number)], axis=1).astype(np.int64)


def _student(bench: _Bench) -> Student:
    session = bench.session()
    return Student(
        session.executor,
        Twin.of(bench.image, bench.estimates),
        teacher_array(bench.image),
        session.get_inputs()[0].name,
        tuple(arg.name for arg in session.get_outputs()),
    )


def _distill(bench: _Bench) -> None:
    """Train the digital side; the checkpoint that serves held-out data best is kept."""
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
    best = bench.best()
    bench.image = bench.candidates[best]
    bench.stages[best] = replace(bench.stages[best], kept=True)
