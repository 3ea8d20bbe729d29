"""Dies drawn from a seed, written and read: what comparisons of chips are made on."""

from __future__ import annotations

from dataclasses import dataclass

from pimc.image.image import Image
from pimc.runtime.die.die import Die
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
    """

    age_s: float = 0.0
    ir_drop: Method = "first"
    processor: str = "cpu"

    def session(self, image: Image, seed: int, *, converters: bool = True) -> Session:
        """A session on the die of ``seed``, with read noise of this seed; equal every time."""
        die = Die.simulated(seed)
        session = Session(
            image,
            die,
            seed=seed,
            converters=converters,
            device=self.processor,
            ir_drop=self.ir_drop,
        )
        die.age(self.age_s)
        return session

    def next_session(self, last: Session, seed: int) -> Session:
        """The same as :meth:`session` from one that it gave before, for less."""
        die = Die.simulated(seed)
        session = last.with_die(die, seed=seed)
        die.age(self.age_s)
        return session


FRESH = Reading()
