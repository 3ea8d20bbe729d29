"""A digital residual: a few weights are computed beside the array, no cell is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import add_digital, correct, tune_ranges
from pimc.passes.recover.steps.learning import learn
from pimc.passes.recover.steps.training import train_columns


@dataclass(frozen=True)
class Residual:
    """Identify the cells, add a few weights digitally, distill the digital side; write nothing."""

    name: ClassVar[str] = "residual"
    needs_chip: ClassVar[bool] = False
    uses: ClassVar[Sequence[str]] = ("residual", "train", "epochs")
    share: ClassVar[float] = 0.05

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Capture, correct, add, distill."""
        share = self.share if options.residual is None else options.residual
        digital = partial(add_digital, share=share)
        return learn, correct, tune_ranges, digital, train_columns
