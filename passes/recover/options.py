"""What a recovery may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions

__all__ = ["RecoverOptions", "Trained"]

Trained = Literal["gain", "bias", "ranges", "levels"]


@dataclass(frozen=True)
class RecoverOptions:
    """What a recovery may do; which of it is used is the strategy's business.

    Attributes:
        budget: writes allowed, as a part of the image's cells.
        rounds: how many times at most cells are rewritten and captured again; all but the first
            write twice as many cells as that, and one that does not pay is the last.
        holdout: part of the calibration data on which checkpoints are chosen; a tenth if None,
            at least 32 samples, or half of fewer than 64.
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
        task: name of the task (:mod:`pimc.tasks`) that says what outputs are held to; judged by
            their shape if None.
        seed: seed of every choice.
    """

    budget: float = 0.10
    rounds: int = 3
    holdout: float | None = None
    influence_images: int = 512
    calibrate_images: int = 256
    cost_images: int = 256
    patience: int = 3
    residual: float | None = None
    train: tuple[Trained, ...] = ("gain", "bias")
    enough: float | None = None
    task: str | None = None
    seed: int = 0
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    distill: DistillOptions = field(default_factory=DistillOptions)
