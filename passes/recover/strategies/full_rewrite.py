"""Writing everything again: all errors are drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover import steps
from pimc.passes.recover.bench import Bench


@dataclass(frozen=True)
class FullRewrite:
    """Write every cell again, whatever the budget, then fit gain and offset of every column."""

    name: ClassVar[str] = "full-rewrite"
    needs_chip: ClassVar[bool] = True

    def __call__(self, bench: Bench) -> None:
        """Write, fit, judge."""
        done = steps.rewrite_all(bench)
        bench.judge("every cell written again", done)
        steps.fit_columns(bench)
        bench.judge("column gain and offset")
