"""Variation-aware training, with and without distillation: the recipes to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import fit_columns
from pimc.passes.recover.steps.training import write_hardened
from pimc.passes.recover.train.harden import HardenOptions


@dataclass(frozen=True)
class Vat:
    """Train the weights under write errors, write what changed, fit gain and offset of columns.

    The classes are those that the float network names: labels are never needed.
    """

    name: ClassVar[str] = "vat"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()
    distill: ClassVar[bool] = False
    options: HardenOptions = field(default_factory=HardenOptions)

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Train and write, fit."""
        how = replace(self.options, distill=self.distill)
        return partial(write_hardened, options=how), fit_columns


@dataclass(frozen=True)
class VatKd(Vat):
    """The same as vat, trained toward the float network's outputs and features."""

    name: ClassVar[str] = "vat-kd"
    distill: ClassVar[bool] = True
