"""Chip in the loop, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import fit_columns
from pimc.passes.recover.steps.training import write_layer_by_layer
from pimc.passes.recover.train.layerwise import LayerwiseOptions


@dataclass(frozen=True)
class Layerwise:
    """Go through the layers, train what follows to make up for what was written, write it too.

    The recipe that W. Wan et al. 2022 (DOI 10.1038/s41586-022-04992-8) followed on silicon,
    then gain and offset of every column are fitted.
    """

    name: ClassVar[str] = "layerwise"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()
    options: LayerwiseOptions = field(default_factory=LayerwiseOptions)

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Train and write, fit."""
        return partial(write_layer_by_layer, options=self.options), fit_columns
