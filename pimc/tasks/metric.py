"""The figure that is told of a network: its name, unit, direction and bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Metric"]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes:
        name: what users call it.
        unit: ``%`` for shares that are shown in per cent; else the values' own, if they have one.
        higher_is_better: the direction.
        low, high: values never lie beyond.
        key: what stands for it in the keys of JSON and in columns: ``accuracy`` of classification.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    low: float = -math.inf
    high: float = math.inf
    key: Literal["accuracy", "metric"] = "metric"

    @property
    def direction(self) -> Literal["higher", "lower"]:
        """Which values are better."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def scale(self) -> float:
        """What values are multiplied by to be shown."""
        return 100.0 if self.unit == "%" else 1.0

    def worse_by(self, value: float, reference: float) -> float:
        """How much worse a value is than a reference; negative where it is better."""
        return reference - value if self.higher_is_better else value - reference

    def text(self, value: float | None) -> str:
        """A value for people; a dash where it is not known."""
        if value is None:
            return "–"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.number(value)}{unit}"

    def texts(self, low: float | None, high: float | None) -> str:
        """The ends of an interval: ``52.20 to 93.68 %``; a dash where there is none."""
        if low is None or high is None or not math.isfinite(high - low):
            return "–"
        return f"{self.number(low)} to {self.text(high)}"

    def number(self, value: float) -> str:
        """The same without the unit."""
        return f"{self.scale * value:.2f}" if self.unit == "%" else f"{value:.4g}"
