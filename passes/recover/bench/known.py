"""What a recovery works with that depends on no die."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.errors import ImageError
from pimc.image.image import Image
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Limit
from pimc.passes.recover.samples import require_samples
from pimc.passes.recover.twin.goal import Goal, Outputs
from pimc.passes.recover.watch.features import Features, Noted
from pimc.passes.recover.watch.layers import Room, Taught
from pimc.passes.recover.watch.network import network_outputs
from pimc.progress import Progress
from pimc.runtime.door.device import Device
from pimc.runtime.feeds import tensors
from pimc.runtime.sequences import state_outputs, unrolled
from pimc.runtime.session import BATCH_SIZE, Session, inputs_of
from pimc.runtime.teacher import has_teacher, teacher_array
from pimc.work.memory import Memory

__all__ = [
    "MIN_HELD_OUT",
    "Compared",
    "Known",
    "held_out_part",
    "require_teacher",
]

#: Part of the samples that is held out where nobody says otherwise.
_HELD_OUT = 0.1
#: Fewest samples that are held out then, as long as as many are left to learn from.
MIN_HELD_OUT = 32
#: How many times the outputs of the largest layer are held while gradients are worked out, beside
#: those of all layers in both networks and their gradients, and while columns are fitted.
_HELD_TRAINING, _HELD_FITTING = 4, 5
#: What allocators hold of what was freed in between.
_LEFT_BYTES = 48 << 20
#: What is held of a cell beside the die: its estimate (25), banks, both networks, and a copy of the
#: die's state at the end of a step; before, the two dies that the floor is estimated with.
_CELL_BYTES = 55
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
class Known:
    """What a bench holds that depends on no die.

    Attributes:
        train, held_out, wanted, goal, features, compared, at_once, taught, step_bytes: as of the
            bench.
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
    ) -> Known:
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
        return Known(
            train=train,
            held_out=held_out,
            trained_on=rest,
            wanted=wanted,
            goal=Goal.of(
                options.task, wanted, options.distill.temperature, state_outputs(session, data)
            ),
            features=watch.features(),
            compared=compared,
            at_once=room.gradients,
            taught=Taught(),
            step_bytes=_step_bytes(options, room),
        )


def _step_bytes(options: RecoverOptions, room: Room) -> int:
    """What working out gradients holds, beside what is kept for them."""
    all_layers, one_layer = room.sample_bytes
    at_once = min(options.distill.batch_size, room.gradients)
    return at_once * (3 * all_layers + _HELD_TRAINING * one_layer) + _LEFT_BYTES


def _least_bytes(image: Image, options: RecoverOptions, room: Room, compared: Compared) -> int:
    """Memory that the largest step takes where all that can wait lies on the disk."""
    fitted = max(compared.calibrate.used, BATCH_SIZE)
    fitting = fitted * _HELD_FITTING * room.sample_bytes[1]
    cells = _CELL_BYTES * int(image.used.sum())
    return max(_step_bytes(options, room), fitting) + cells + _BESIDE_BYTES


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
