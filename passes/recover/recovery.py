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

__all__ = ["Floor", "LayerCost", "Recovery", "Stage"]


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
        kept: the digital side of this step is that of the result.
    """

    name: str = field(metadata=key("str", "what was done"))
    loss: float = field(metadata=key("float", "the objective"))
    agreement: float | None = field(metadata=key("float", "share of samples", low=0, high=1))
    cells_written: int = field(metadata=key("int", "writes of this step", low=0))
    seconds: float = field(metadata=key("float", "that it took"))
    layer_errors: Mapping[str, float] = field(metadata=key("table", "by layer name"))
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
    """

    loss: float
    agreement: float | None
    layers: tuple[LayerCost, ...] = ()


@dataclass(frozen=True)
class Recovery:
    """Result of a recovery.

    Attributes:
        strategy: the strategy that was followed.
        floor: what no recovery can pass by much, estimated in advance.
        findings: faults by name; None where no cell was identified.
        record: what of the chip was looked at: codes of tiles, sums of layers, or outputs.
        measured: the loss was measured on the chip; else it is what the twin expects.
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
    findings: Findings | None = None
    record: Record = "codes"

    @property
    def cells_rewritten(self) -> int:
        """Writes done; a cell written twice counts twice."""
        return len(self.writes)
