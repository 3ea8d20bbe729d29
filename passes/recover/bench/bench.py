"""The bench: what a recovery works with, the same from its first step to its last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, UsageError
from pimc.image.image import Image
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.known import Compared, Known
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Basis, Floor
from pimc.passes.recover.twin.goal import Goal, Outputs
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.features import Features
from pimc.passes.recover.watch.layers import Taught
from pimc.progress import Progress
from pimc.runtime.capture import Capture
from pimc.runtime.door.device import Device
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from pimc.work.memory import UNLIMITED, Memory

__all__ = ["Bench", "Step", "source"]


@dataclass(frozen=True, eq=False)
class Bench:
    """What lies ready for every step of a recovery; what changes is its :class:`State`.

    Attributes:
        device: the chip; None where only a capture is at hand.
        captured: a capture that was taken before; the first step that learns uses it. Its
            network outputs are those for the training part of the data.
        options: what the recovery may do.
        train: the part of the calibration data that is learnt from.
        held_out: the part by which it is decided what is kept.
        wanted: the float network's outputs for the held-out data.
        goal: how far outputs are from those.
        features: what the float network's layers give for the first of the held-out data.
        compared: on how many images layers are compared with the float network's.
        at_once: samples whose gradients are worked out at once.
        common: what recoveries of several dies share.
        memory: how much the process may hold.
        step_bytes: what working out gradients holds beside what is kept for them.
        progress: told of long work.
        taught: what the float network gives where gains and offsets are fitted.
        floor: what perfect cells would come to, once that is known.
    """

    device: Device | None
    captured: Capture | None = field(repr=False)
    options: RecoverOptions
    train: Dataset = field(repr=False)
    held_out: Dataset = field(repr=False)
    wanted: Outputs = field(repr=False)
    goal: Goal
    features: Features
    compared: Compared
    at_once: int
    common: Common = field(repr=False)
    progress: Progress = field(repr=False)
    taught: Taught = field(default_factory=Taught, repr=False)
    memory: Memory = UNLIMITED
    step_bytes: int = 0
    floor: Floor | None = None

    @staticmethod
    def of(
        image: Image,
        device: Device | None,
        captured: Capture | None,
        data: Dataset,
        options: RecoverOptions,
        common: Common,
        progress: Progress,
        memory: Memory = UNLIMITED,
    ) -> Bench:
        """The bench for the recovery of a chip that holds ``image``.

        Raises:
            ImageError: the image holds no float weights to distill from.
            DataError: there are too few calibration samples, or they have not the network's
                inputs.
            UsageError: ranges are to be tried, and there is no chip; the memory is too little.
            CaptureError: the capture's network outputs are for other calibration data.
        """
        if "ranges" in options.train and device is None:
            raise UsageError(
                "ranges are tried on the chip, and there is only a capture",
                where="train",
                hint="name a die, or leave the ranges as they are",
            )
        common.belongs_to(image, data, options)
        known = common.once(
            "float network", lambda: Known.of(image, device, data, options, memory, progress)
        )
        if captured is not None:
            samples = len(known.train) + len(known.held_out)
            captured = _of_samples(captured, samples, known.trained_on)
        return Bench(
            device=device,
            captured=captured,
            options=options,
            train=known.train,
            held_out=known.held_out,
            wanted=known.wanted,
            goal=known.goal,
            features=known.features,
            compared=known.compared,
            at_once=known.at_once,
            common=common,
            progress=progress,
            taught=known.taught,
            memory=memory,
            step_bytes=known.step_bytes,
        )

    @property
    def basis(self) -> Basis:
        """What the figures of the recovery stand on."""
        held_out = len(self.held_out)
        cut = tuple(limit for limit in self.compared if limit.used < limit.asked)
        return Basis(held_out + len(self.train), held_out, cut)

    @property
    def has_chip(self) -> bool:
        """Whether the chip is at hand, not only a capture of it."""
        return self.device is not None

    def session(self, state: State) -> Session:
        """The present image on the chip, or, without one, on perfect cells for its graph."""
        return Session(state.image, die=self.device)

    def array(self, state: State) -> ArrayCall | None:
        """What stands in for the chip where none is attached: the twin."""
        return None if self.device is not None else Twin.of(state.image, state.estimates)

    def student(self, state: State) -> Student:
        """The twin as it is known now, and the float network."""
        session = self.session(state)
        return Student(
            session.executor,
            Twin.of(state.image, state.estimates),
            teacher_array(state.image),
            tuple(arg.name for arg in session.get_outputs()),
            {} if self.train.states is None else self.train.states.axes,
            self.at_once,
            self.memory.less(self.step_bytes),
        )


#: What strategies are made of. One that was cut is done again from its start.
Step = Callable[[Bench, State], State]


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
