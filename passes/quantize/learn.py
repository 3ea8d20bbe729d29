"""Learn: what the quantizer chose, trained toward the float network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from pimc.chip.design import Chip
from pimc.plan.records import Plan

__all__ = ["LearnRounding", "Learner", "told"]

#: How the notes of this pass begin.
_NOTE = "learned rounding: "


class Learner(Protocol):
    """Trains what the quantizer chose on calibration data."""

    def __call__(self, plan: Plan, chip: Chip) -> tuple[Plan, Iterable[str]]:
        """The plan with other codes, scales, biases and ranges, and what a user should know."""
        ...


@dataclass(frozen=True)
class LearnRounding:
    """Train codes, scales, biases and ranges toward the float network, block by block.

    Attributes:
        learner: how; it runs the network.
    """

    name: ClassVar[str] = "learn"
    learner: Learner = field(repr=False)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Replace ``plan.quantized``.

        Raises:
            UsageError: the network takes a fixed number of samples.
        """
        learned, notes = self.learner(plan, chip)
        kept = (note for note in plan.notes if not note.startswith(_NOTE))
        return replace(
            learned, stage=self.name, notes=(*kept, *(f"{_NOTE}{note}" for note in notes))
        )


def told(plan: Plan) -> list[str]:
    """What the pass noted in a plan."""
    return [note for note in plan.notes if note.startswith(_NOTE)]
