"""Schedule: which tiles are read together, and in what order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimc.chip.design import Chip
from pimc.plan.records import Plan, ReadStep


@dataclass(frozen=True)
class Scheduling:
    """Layer by layer, as few read steps as the packing allows.

    Tiles that share an array are read together only if they take the same inputs on the same
    wordlines; any other tile on an active wordline would add its current to foreign columns.
    """

    name: ClassVar[str] = "schedule"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.schedule``."""
        rounds: dict[tuple[int, int], list[int]] = {}
        activations: dict[tuple[int, int], dict[object, int]] = {}
        for number, (tile, place, lines) in enumerate(
            zip(plan.tiles, plan.places, plan.lines, strict=True)
        ):
            wordlines = place.row if lines is None else lines.wordlines.tobytes()
            together = activations.setdefault((tile.layer, place.array), {})
            turn = together.setdefault((tile.group, tile.row, wordlines), len(together))
            rounds.setdefault((tile.layer, turn), []).append(number)
        schedule = tuple(
            ReadStep(layer, tuple(tiles)) for (layer, _), tiles in sorted(rounds.items())
        )
        return replace(plan, stage=self.name, schedule=schedule)
