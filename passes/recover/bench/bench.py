"""The bench: what a recovery works with, the same from its first step to its last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, ImageError, UsageError
from pimc.image.image import Image
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Basis, Limit
from pimc.passes.recover.samples import require_samples
from pimc.passes.recover.twin.goal import Goal, Outputs
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.features import Features, Noted
from pimc.passes.recover.watch.layers import Room, Taught
from pimc.passes.recover.watch.network import network_outputs
from pimc.progress import Progress
from pimc.runtime.capture import Capture
from pimc.runtime.door.device import Device
from pimc.runtime.feeds import tensors
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.sequences import state_outputs, unrolled
from pimc.runtime.session import BATCH_SIZE, Session, inputs_of
from pimc.runtime.teacher import has_teacher, teacher_array
from pimc.work.memory import UNLIMITED, Memory

__all__ = [
    "MIN_HELD_OUT",
    "Bench",
    "Compared",
    "Step",
    "held_out_part",
    "require_teacher",
    "source",
]

#: Part of the samples that is held out where nobody says otherwise.
_HELD_OUT = 0.1
#: Fewest samples that are held out then, as long as as many are left to learn from.
MIN_HELD_OUT = 32
#: How many times the outputs of the largest layer are held while gradients are worked out, beside
#: those of all layers in both networks, and while columns are fitted.
_HELD_TRAINING, _HELD_FITTING = 4, 5
#: What is held of a cell: its estimate, its state, and copies of both at the end of a step.
_CELL_BYTES = 100
#: All else: compiled code, systems that are solved.
_BESIDE_BYTES = 150 << 20
#: Held-out samples on which the layers' errors are measured.
_FEATURE_IMAGES = 64


class Compared(NamedTuple):
    """On how many images layers are compared with the float network's, output by output.

    Attributes:
        calibrate: where gains and offsets are fitted.
        cost: where it is estimated what single layers cost.
        features: where the errors of layers are measured.
    """

    calibrate: Limit
    cost: Limit
    features: Limit

    @staticmethod
    def of(options: RecoverOptions, train: int, held_out: int, room: Room) -> Compared:
        """The numbers for so many samples."""
        fit = room.all_layers
        batches = -(-fit // BATCH_SIZE) * BATCH_SIZE  # they are compared batch by batch
        asked = (
            ("gains and offsets are fitted", min(options.calibrate_images, train), room.one_layer),
            ("the cost of single layers is estimated", min(options.cost_images, held_out), fit),
            ("the errors of layers are measured", min(_FEATURE_IMAGES, held_out), batches),
        )
        return Compared(*(Limit(what, most, min(most, room)) for what, most, room in asked))


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
            "float network", lambda: _Known.of(image, device, data, options, memory, progress)
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


@dataclass(frozen=True, eq=False)
class _Known:
    """What a bench holds that depends on no die; as of :class:`Bench`.

    Attributes:
        trained_on: which of the samples those are that are learnt from.
    """

    train: Dataset
    held_out: Dataset
    trained_on: npt.NDArray[np.int64]
    wanted: Outputs
    goal: Goal
    features: Features
    compared: Compared
    at_once: int
    taught: Taught
    step_bytes: int

    @staticmethod
    def of(
        image: Image,
        device: Device | None,
        data: Dataset,
        options: RecoverOptions,
        memory: Memory,
        progress: Progress,
    ) -> _Known:
        """See :meth:`Bench.of` for what is raised; nothing is asked of the chip."""
        require_teacher(image)
        data = unrolled(data, image, progress).on(inputs_of(image))
        require_samples(data)
        part = held_out_part(len(data), options.holdout)
        chosen, rest = data.split_indices(part, np.random.default_rng(options.seed))
        held_out, train = data.subset(chosen), data.subset(rest)
        session = Session(image, die=device)
        teacher = teacher_array(image)
        one = tensors(held_out.feed(0, 1))
        room = Room.of(session, teacher, one)
        compared = Compared.of(options, len(train), len(held_out), room)
        memory.require(_least_bytes(image, options, room, compared), "a recovery of this network")
        watch = Noted(teacher, -(-compared.features.used // BATCH_SIZE))
        what = "running the float network"
        wanted = network_outputs(session, held_out, progress, what, watch)
        return _Known(
            train=train,
            held_out=held_out,
            trained_on=rest,
            wanted=wanted,
            goal=Goal.of(
                options.task, wanted, options.distill.temperature, state_outputs(session, data)
            ),
            features=watch.features(),
            compared=compared,
            at_once=room.all_layers,
            taught=Taught(),
            step_bytes=_step_bytes(options, room),
        )


def _step_bytes(options: RecoverOptions, room: Room) -> int:
    """What working out gradients holds, beside what is kept for them."""
    all_layers, one_layer = room.sample_bytes
    at_once = min(options.distill.batch_size, room.all_layers)
    return at_once * (2 * all_layers + _HELD_TRAINING * one_layer)


def _least_bytes(image: Image, options: RecoverOptions, room: Room, compared: Compared) -> int:
    """Memory that the largest step takes where all that can wait lies on the disk."""
    fitted = max(compared.calibrate.used, BATCH_SIZE)
    fitting = fitted * _HELD_FITTING * room.sample_bytes[1]
    cells = _CELL_BYTES * int(image.used.sum())
    return max(_step_bytes(options, room), fitting) + cells + _BESIDE_BYTES


#: What strategies are made of. One that was cut is done again from its start.
Step = Callable[[Bench, State], State]


def require_teacher(image: Image) -> None:
    """Make sure that an image holds what a recovery distills from.

    Raises:
        ImageError: it holds no float weights.
    """
    if not has_teacher(image):
        raise ImageError(
            "the image holds no float weights to distill from",
            hint="compile without --no-teacher",
        )


def held_out_part(samples: int, asked: float | None) -> float:
    """The part of so many samples that is held out: what was asked for, or the usual."""
    if asked is not None:
        return asked
    return max(_HELD_OUT, min(MIN_HELD_OUT, samples // 2) / samples)


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
