"""A strategy on the one die that all of them are tried on."""

from __future__ import annotations

from typing import Any

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice

OPTIONS = RecoverOptions(
    rounds=1,
    influence_images=32,
    capture=CaptureOptions(vectors=96, repeats=2, images=32),
    distill=DistillOptions(epochs=1),
)


def recovered(
    image: Image, calib: Dataset, strategy: str, options: RecoverOptions = OPTIONS, **more: Any
) -> tuple[Recovery, SimDevice]:
    device = SimDevice(Die.simulated(7), image.chip, image.arrays, read_seed=7)
    program(image, device)
    return recover(image, device, calib, options, strategy=strategy, **more), device
