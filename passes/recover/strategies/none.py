"""Doing nothing: what every other strategy is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions


@dataclass(frozen=True)
class Nothing:
    """Leave the die as it was programmed."""

    name: ClassVar[str] = "none"
    needs_chip: ClassVar[bool] = False
    uses: ClassVar[Sequence[str]] = ()

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Nothing."""
        return ()
