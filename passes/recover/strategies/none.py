"""Doing nothing: what every other strategy is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover.bench import Bench


@dataclass(frozen=True)
class Nothing:
    """Leave the die as it was programmed."""

    name: ClassVar[str] = "none"
    needs_chip: ClassVar[bool] = False

    def __call__(self, bench: Bench) -> None:
        """Nothing."""
