"""The bench: what a recovery works with, and the measurements that it decides by."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, DataError, ImageError, UsageError
from pimc.image.image import Image
from pimc.passes.recover.features import Features
from pimc.passes.recover.identify import CellEstimate, prior
from pimc.passes.recover.objective import Goal, Outputs
from pimc.passes.recover.options import RecoverOptions, Stage
from pimc.passes.recover.twin import Twin
from pimc.progress import Progress
from pimc.runtime.capture import Capture
from pimc.runtime.door.device import Device
from pimc.runtime.door.endurance import worn
from pimc.runtime.door.program import write
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.runtime.teacher import has_teacher, teacher_array

Writes = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], int]
#: No writes.
NOTHING: Writes = (np.empty(0, np.int64), np.empty(0, np.uint16), 0)
#: Fewest calibration samples a recovery can work with.
MIN_SAMPLES = 16
#: Held-out samples on which the layers' errors are measured.
_FEATURE_IMAGES = 64


@dataclass(eq=False)
class Bench:
    """Everything a recovery has on its table.

    Attributes:
        device: the chip; None where only a capture is at hand.
        captured: a capture that was taken before; used once. Its network outputs are those for
            the training part of the data.
        image: what the chip holds now, and the digital side as it is now.
        estimates: what is known of the cells, by layer number.
        wanted: the float network's outputs for the held-out data.
        features: what the float network's layers give for the first of them, by name.
        kept: the image that serves the present cells best, and the stage that judged it; None
            right after writes, when nothing was judged yet.
        chosen: cells to write next, their levels, and the number of the round.
        writes: (cell, level before, level after, round) of all writes so far.
    """

    device: Device | None
    captured: Capture | None
    options: RecoverOptions
    train: Dataset
    held_out: Dataset
    progress: Progress
    image: Image
    estimates: dict[int, CellEstimate]
    generator: torch.Generator
    wanted: Outputs
    goal: Goal
    features: Features
    kept: tuple[int, Image] | None = None
    stages: list[Stage] = field(default_factory=list)
    chosen: Writes = field(default_factory=lambda: NOTHING)
    writes: list[npt.NDArray[np.int64]] = field(default_factory=list)
    clock: float = field(default_factory=time.perf_counter)

    @staticmethod
    def of(
        image: Image,
        device: Device | None,
        captured: Capture | None,
        data: Dataset,
        options: RecoverOptions,
        progress: Progress,
    ) -> Bench:
        """The bench before the first step.

        Raises:
            ImageError: the image holds no float weights to distill from.
            DataError: there are too few calibration samples.
            UsageError: ranges are to be tried, and there is no chip.
            CaptureError: the capture's network outputs are for other calibration data.
        """
        if "ranges" in options.train and device is None:
            raise UsageError(
                "ranges are tried on the chip, and there is only a capture",
                where="train",
                hint="name a die, or leave the ranges as they are",
            )
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
        chosen, rest = data.split_indices(options.holdout, np.random.default_rng(options.seed))
        held_out, train = data.subset(chosen), data.subset(rest)
        if captured is not None:
            captured = _of_samples(captured, len(data), rest)
        session = Session(image, device)
        teacher = teacher_array(image)
        wanted = outputs(session, held_out, progress, "running the float network", teacher)
        return Bench(
            device=device,
            captured=captured,
            options=options,
            train=train,
            held_out=held_out,
            progress=progress,
            image=image,
            estimates={layer.index: prior(image, layer) for layer in image.layers},
            generator=torch.Generator().manual_seed(options.seed),
            wanted=wanted,
            goal=Goal.of(options.task, wanted, options.distill.temperature),
            features=Features.of(session, teacher, held_out, _FEATURE_IMAGES),
        )

    @property
    def has_chip(self) -> bool:
        """Whether the chip is at hand, not only a capture of it."""
        return self.device is not None

    def session(self) -> Session:
        """The current image on the chip, or, without one, on perfect cells for its graph."""
        return Session(self.image, self.device)

    def array(self) -> ArrayCall | None:
        """What stands in for the chip where none is attached: the twin."""
        return None if self.device is not None else Twin.of(self.image, self.estimates)

    def judge(self, name: str, written: int = 0) -> Stage:
        """Measure the image on the chip and note it as a stage."""
        session = self.session()
        watch = self.features.watch(self.array() or session.array)
        found = outputs(session, self.held_out, self.progress, "judging", watch)
        loss = float(self.goal.loss(found, self.wanted))
        now = time.perf_counter()
        same = self.goal.agreement(found, self.wanted)
        errors = self.features.errors(watch.seen)
        stage = Stage(name, loss, same, written, now - self.clock, errors)
        self.clock = now
        if self.kept is None or loss < self.stages[self.kept[0]].loss:
            self.kept = len(self.stages), self.image
        self.stages.append(stage)
        return stage

    def stages_since_best(self) -> int:
        """How many stages came after the one whose digital side serves the present cells best."""
        return 0 if self.kept is None else len(self.stages) - 1 - self.kept[0]

    def enough(self) -> bool:
        """Whether the present cells serve as well as was asked for."""
        limit = self.options.enough
        if limit is None or self.kept is None:
            return False
        return self.stages[self.kept[0]].loss <= limit

    def keep_best(self) -> None:
        """Go back to the digital side that serves the present cells best."""
        if self.kept is not None:
            best, self.image = self.kept
            self.stages[best] = replace(self.stages[best], kept=True)

    def write(self) -> int:
        """Write the chosen cells; digital sides so far fit no more.

        Without the chip the writes are only noted.

        Returns:
            How many were written.

        Raises:
            DeviceError: the chip failed, or cells endure no further write.
        """
        (cells, levels, number), self.chosen = self.chosen, NOTHING
        if not len(cells):
            return 0
        before = self.image.levels.reshape(-1)[cells].astype(np.int64)
        if self.device is not None:
            limit = self.image.chip.programming.endurance_writes
            write(self.device, cells, levels, limit=limit, before=self.all_writes()[:, 0])
        self.image = self.image.updated(cells=cells, levels=levels)
        self.kept = None
        self.writes.append(
            np.stack([cells, before, levels, np.full(len(cells), number)], axis=1).astype(np.int64)
        )
        return len(cells)

    def worn(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of some cells endure no further write."""
        limit = self.image.chip.programming.endurance_writes
        return worn(self.device, cells, limit, self.all_writes()[:, 0])

    def all_writes(self) -> npt.NDArray[np.int64]:
        """(writes, 4) address of the cell, level before, level after, round."""
        return np.concatenate([np.empty((0, 4), np.int64), *self.writes])


def source(device: Device | None, captured: Capture | None) -> str:
    """Name of the die that is to be recovered.

    Raises:
        UsageError: neither a device nor a capture.
        CaptureError: the capture is of another die.
    """
    names = [name for name in (device and device.name, captured and captured.die) if name]
    if not names:
        raise UsageError("there is neither a chip nor a capture", hint="name a die or a capture")
    if len(set(names)) > 1:
        raise CaptureError(
            f"this capture was taken of die {names[1]}", where=names[0], hint="capture this die"
        )
    return names[0]


def _of_samples(captured: Capture, count: int, chosen: npt.NDArray[np.int64]) -> Capture:
    """The capture with the network's outputs for the chosen of all calibration samples."""
    lengths = {len(value) for value in captured.outputs.values()} - {count}
    if lengths and captured.record == "outputs":
        raise CaptureError(
            f"holds outputs for {lengths.pop()} samples, and there are {count} to calibrate with",
            where=captured.die,
            hint="recover with the calibration data that the capture was taken with",
        )
    kept = {} if lengths else {name: value[chosen] for name, value in captured.outputs.items()}
    return replace(captured, outputs=kept)


def outputs(
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
