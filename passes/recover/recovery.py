"""What a recovery tells of what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.files.strict import key
from pimc.image.image import Image
from pimc.passes.recover.know.findings import Findings
from pimc.runtime.capture import Record

__all__ = ["Basis", "Floor", "LayerCost", "Limit", "Recovery", "Stage", "Verdict"]


@dataclass(frozen=True)
class Limit:
    """How many images something is worked out on, as all layers' outputs must fit into memory.

    Attributes:
        what: that is worked out.
        asked: images asked for, as far as there are so many.
        used: those that fit.
    """

    what: str
    asked: int
    used: int


@dataclass(frozen=True)
class Basis:
    """What the figures of a recovery stand on.

    Attributes:
        samples: calibration samples given.
        held_out: those by which states are judged; the others are learnt from.
        limits: where images did not fit into memory.
    """

    samples: int
    held_out: int
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a recovery made a die better.

    Attributes:
        gained: the held-out loss fell.
        loss_before, loss_after: on held-out data, before anything was done and of the result.
        why: what kept it from more, a sentence each; empty where nothing is known to.
        hints: options and strategies that would help.
    """

    gained: bool
    loss_before: float
    loss_after: float
    why: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One step of a recovery as the report tells it.

    Attributes:
        loss: the objective on held-out calibration data, measured on the chip.
        agreement: share of held-out samples for which chip and float network choose the same
            class; None for values.
        cells_written: writes of this step.
        layer_errors: by layer name, root mean square of what the layer's outputs on some held-out
            samples are away from the float network's, over the standard deviation of the latter.
        loss_error: standard error of the loss, from the scatter over the held-out samples; None
            where there is none to tell it by.
        away_error: standard error of the difference from the least loss before, sample by sample;
            None for the first stage, and where there is none to tell it by.
        paid: whether the writes of this step were worth going on, as far as held-out samples can
            tell; None where nothing was written, or nobody asked.
        kept: the digital side of this step is that of the result.
    """

    name: str = field(metadata=key("str", "what was done"))
    loss: float = field(metadata=key("float", "the objective"))
    agreement: float | None = field(metadata=key("float", "share of samples", low=0, high=1))
    cells_written: int = field(metadata=key("int", "writes of this step", low=0))
    seconds: float = field(metadata=key("float", "that it took"))
    layer_errors: Mapping[str, float] = field(metadata=key("table", "by layer name"))
    loss_error: float | None = field(
        default=None, metadata=key("float", "standard error of the loss", low=0)
    )
    away_error: float | None = field(
        default=None, metadata=key("float", "standard error of what it is away", low=0)
    )
    paid: bool | None = field(default=None, metadata=key("bool", "whether its writes did"))
    kept: bool = field(default=False, metadata=key("bool", "the result's digital side"))


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs, read as the chip reads, with perfect cells and all others in float.

    Attributes:
        loss: the objective on held-out calibration data.
        disagreement: share of held-out samples that get another class than from the float
            network; None for values.
        clipped: part of the layer's conversions that lay outside the ADC's range.
        noise: part of its outputs' error power that read noise makes; the rest is rounding.
    """

    layer: str
    loss: float
    disagreement: float | None
    clipped: float
    noise: float


@dataclass(frozen=True)
class Floor:
    """How near perfect cells would come to the float network, read as this chip reads.

    Attributes:
        loss: the objective on held-out calibration data.
        agreement: share of held-out samples that get the float network's class; None for values.
        layers: what each layer alone costs, the costliest first; empty where not asked for.
        samples: held-out samples that loss and agreement are of.
        layer_samples: those that the layers' costs are of.
        loss_error: standard error of the loss; None where there is none to tell it by.
    """

    loss: float
    agreement: float | None
    layers: tuple[LayerCost, ...] = ()
    samples: int = 0
    layer_samples: int = 0
    loss_error: float | None = None


@dataclass(frozen=True)
class Recovery:
    """Result of a recovery.

    Attributes:
        strategy: the strategy that was followed.
        floor: what no recovery can pass by much, estimated in advance.
        findings: faults by name; None where no cell was identified.
        record: what of the chip was looked at: codes of tiles, sums of layers, or outputs.
        measured: the loss was measured on the chip; else it is what the twin expects.
        basis: what the figures stand on.
        verdict: whether the die is better than before, and what would help.
        image: the next image, with the digital side and the levels the die now holds.
        writes: (writes, 4) address of the cell, level before, level after, round.
    """

    strategy: str
    floor: Floor
    image: Image
    writes: npt.NDArray[np.int64]
    stages: tuple[Stage, ...]
    seconds: float
    measured: bool
    basis: Basis
    verdict: Verdict
    findings: Findings | None = None
    record: Record = "codes"

    def __repr__(self) -> str:
        loss = f"held-out loss {self.verdict.loss_before:.4g} → {self.verdict.loss_after:.4g}"
        return f"Recovery({self.strategy}: {loss}, {self.cells_rewritten:,} cells rewritten)"

    def _repr_html_(self) -> str:
        """What notebooks show: whether it gained, and how."""
        import pimc

        return pimc.brief(self)

    @property
    def cells_rewritten(self) -> int:
        """Writes done; a cell written twice counts twice."""
        return len(self.writes)
