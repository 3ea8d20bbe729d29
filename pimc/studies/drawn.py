"""Dies drawn from a seed, written and read: what comparisons of chips are made on."""

from __future__ import annotations

from dataclasses import dataclass

from pimc.image.image import Image
from pimc.runtime.door.abilities import age
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.session import Session

__all__ = ["FRESH", "Reading"]


@dataclass(frozen=True)
class Reading:
    """How drawn dies are read.

    Attributes:
        age_s: how long after they were written.
        ir_drop: how their wires are taken into account.
        processor: what torch computes on.
        driver: whose dies they are; one with the ability
            :class:`~pimc.runtime.door.abilities.Simulator`.
    """

    age_s: float = 0.0
    ir_drop: Method = "first"
    processor: str = "cpu"
    driver: str = "sim"

    def session(self, image: Image, seed: int, *, converters: bool = True) -> Session:
        """A session on the die of ``seed``, with read noise of this seed; equal every time."""
        return Session(image, die=self._die(image, seed, converters), device=self.processor)

    def next_session(self, last: Session, seed: int) -> Session:
        """The same as :meth:`session` from one that it gave before, for less."""
        return last.with_die(self._die(last.image, seed, True))

    def _die(self, image: Image, seed: int, converters: bool) -> Device:
        """The die of ``seed``, written with an image and aged."""
        device = open_device(
            self.driver,
            image,
            seed=seed,
            ir_drop=self.ir_drop,
            processor=self.processor,
            converters=converters,
        )
        program(image, device)
        age(device, self.age_s)
        return device


FRESH = Reading()
