"""Selective rewriting: few cells, chosen by what each is expected to gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps import Step, correct, learn, rewriting, train_columns


@dataclass(frozen=True)
class Selective:
    """Identify the cells, rewrite the few that pay most, distill the digital side."""

    name: ClassVar[str] = "selective"
    needs_chip: ClassVar[bool] = False

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Capture, correct, rewrite in rounds, distill."""
        rounds = options.rounds if chip else min(1, options.rounds)
        return learn, correct, *rewriting(rounds), train_columns
