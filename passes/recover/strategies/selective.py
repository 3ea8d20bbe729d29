"""Selective rewriting: few cells, chosen by what each is expected to gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover import steps
from pimc.passes.recover.bench import Bench


@dataclass(frozen=True)
class Selective:
    """Identify the cells, rewrite the few that pay most, distill the digital side."""

    name: ClassVar[str] = "selective"
    needs_chip: ClassVar[bool] = False

    def __call__(self, bench: Bench) -> None:
        """Capture, correct, rewrite in rounds, distill."""
        steps.learn(bench)
        steps.correct_rows(bench)
        steps.fit_columns(bench)
        bench.judge("column gain and offset")
        steps.rewrite(bench)
        steps.train_columns(bench)
