"""Column affine: what many papers call normalisation recalibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import fit_columns


@dataclass(frozen=True)
class Affine:
    """Fit gain and offset of every column; no cell is identified or written.

    With them the statistics of every layer's outputs are those of the float network, which is
    what recalibrated batch normalisation does (Joshi et al. 2020, DOI
    10.1038/s41467-020-16108-9).
    """

    name: ClassVar[str] = "affine"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """One: fit and judge."""
        return (fit_columns,)
