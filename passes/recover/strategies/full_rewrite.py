"""Writing everything again: all errors are drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import fit_columns
from pimc.passes.recover.steps.writing import rewrite_all


@dataclass(frozen=True)
class FullRewrite:
    """Write every cell again, whatever the budget, then fit gain and offset of every column."""

    name: ClassVar[str] = "full-rewrite"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Write, fit."""
        return rewrite_all, fit_columns
