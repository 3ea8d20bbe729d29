"""Where the accuracy of some dies goes: what ``pimc eval --explain`` measures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pimc.chip.element import Element
from pimc.studies.intervals import Difference
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

__all__ = ["Cost", "Explanation", "LayerSnr", "Quantization"]


@dataclass(frozen=True)
class Cost:
    """What one element costs.

    Attributes:
        element: the element.
        switched_off: accuracy won on each die when it alone is switched off.
        alone: accuracy lost on each die when it alone is on, where otherwise only weights are
            rounded. The two differ where elements do not simply add up.
    """

    element: Element
    switched_off: Difference
    alone: Difference


@dataclass(frozen=True)
class Quantization:
    """Accuracy with perfect cells, from the float network to all converters.

    Attributes:
        in_float: the float network; None for an image without it.
        weights: weights rounded to levels, and inputs cut off at their range.
        dac: inputs rounded as well.
        adc: column currents rounded and cut off as well.
    """

    in_float: float | None
    weights: float
    dac: float
    adc: float


@dataclass(frozen=True)
class LayerSnr:
    """Powers at a layer's output, in squared output units, means over samples and dies.

    What a layer should give is what its levels mean: exact cells, no ADC.

    Attributes:
        name: the layer.
        signal: variance of what it should give.
        total: mean square of the deviation when the whole network runs on a die, so that what
            went wrong in layers before is part of it.
        own: the same with the inputs that the layer should get.
        cells: part of ``own`` that every read repeats: what cells and wires are away from ideal.
        read_noise: part of ``own`` that differs from read to read.
        adc: part of ``own`` that the ADC adds, on exact cells.
        clipped: share of the currents outside the ADC's range, when the whole network runs.
    """

    name: str
    signal: float
    total: float
    own: float
    cells: float
    read_noise: float
    adc: float
    clipped: float

    def snr_db(self, error: float) -> float | None:
        """10 log₁₀ (signal / error) in dB; None where there is no error or no signal."""
        return 10 * math.log10(self.signal / error) if min(error, self.signal) > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """The ratios in dB, and the share of clipped codes."""
        return {
            "name": self.name,
            "snr_db": self.snr_db(self.total),
            "own_snr_db": self.snr_db(self.own),
            "cells_snr_db": self.snr_db(self.cells),
            "read_noise_snr_db": self.snr_db(self.read_noise),
            "adc_snr_db": self.snr_db(self.adc),
            "clipped": self.clipped,
        }


@dataclass(frozen=True)
class Explanation:
    """Where the accuracy of some dies goes.

    Attributes:
        accuracies: of the dies with everything on.
        quantization: the part that exists on perfect cells, too.
        costs: of the elements that the chip has.
        together: accuracy lost on each die from rounded weights to everything on.
        layers: signal-to-noise ratios, in the order of the network.
        snr_samples: that these were measured on.
        metric: what is called accuracy here: of another task than classification its own figure,
            and losses are what it is worse by.
    """

    accuracies: tuple[float, ...]
    quantization: Quantization
    costs: tuple[Cost, ...]
    together: Difference
    layers: tuple[LayerSnr, ...]
    snr_samples: int
    metric: Metric = CLASSIFICATION.metric

    @property
    def samples(self) -> int:
        """That accuracies were measured on, the same ones on every die."""
        return self.together.samples

    def to_dict(self) -> dict[str, Any]:
        """The object ``explain`` of ``pimc eval --json``; its keys stand in docs/commands.md."""
        accuracy = self.quantization
        return {
            "dies": len(self.accuracies),
            "samples": self.samples,
            "snr_samples": self.snr_samples,
            "quantization": {
                "float": accuracy.in_float,
                "weights": accuracy.weights,
                "dac": accuracy.dac,
                "adc": accuracy.adc,
            },
            "elements": [
                {
                    "name": cost.element.name,
                    "meaning": cost.element.meaning,
                    "switched_off": cost.switched_off.to_dict(),
                    "alone": cost.alone.to_dict(),
                }
                for cost in self.costs
            ],
            "together": self.together.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
        }
