"""What a recovery may do, and what it tells of what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image
from pimc.passes.recover.distill import DistillOptions
from pimc.passes.recover.findings import Findings
from pimc.passes.recover.objective import Task
from pimc.runtime.capture import CaptureOptions, Record

Trained = Literal["gain", "bias", "ranges", "levels"]


@dataclass(frozen=True)
class RecoverOptions:
    """What a recovery may do; which of it is used is the strategy's business.

    Attributes:
        budget: writes allowed, as a part of the image's cells.
        rounds: how many times cells are rewritten and captured again; each round takes half of
            what is left of the budget, the last one all of it.
        holdout: part of the calibration data on which checkpoints are chosen.
        influence_images: images on which the layers are weighed.
        calibrate_images: images on which gains and offsets are fitted.
        cost_images: held-out images on which it is estimated what each layer alone costs under
            perfect writes; 0: that is left out.
        patience: epochs without a better checkpoint after which distillation stops.
        residual: weights that the digital side may add, as a part of all; None for what the
            strategy takes: none, or five per cent where it is made of them.
        train: what is trained: ``gain`` and ``bias`` of every column; ``ranges`` of the DACs and
            ADCs, tried on the chip; ``levels``, which cells to write and to what, by gradients,
            after the rounds and with half of the budget.
        enough: a loss on held-out data with which a recovery ends as soon as it is reached.
        task: what the outputs are; judged by their shape if None.
        seed: seed of every choice.
    """

    budget: float = 0.10
    rounds: int = 3
    holdout: float = 0.1
    influence_images: int = 512
    calibrate_images: int = 256
    cost_images: int = 256
    patience: int = 3
    residual: float | None = None
    train: tuple[Trained, ...] = ("gain", "bias")
    enough: float | None = None
    task: Task | None = None
    seed: int = 0
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    distill: DistillOptions = field(default_factory=DistillOptions)


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

    name: str
    loss: float
    agreement: float | None
    cells_written: int
    seconds: float
    layer_errors: Mapping[str, float]
    kept: bool = False


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
