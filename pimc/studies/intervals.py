"""What dies and samples leave open: confidence intervals of figures and of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.tasks.statistics import matched_interval, wilson_interval
from pimc.tasks.task import Array, Task

__all__ = [
    "Difference",
    "Right",
    "deviation",
    "interval",
    "interval_of",
    "known_ends",
    "mean_interval",
    "paired_interval",
    "wilson_interval",
]

CONFIDENCE = 0.95

#: (samples,) which of them a network gets right.
Right = npt.NDArray[np.bool_]


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean over dies, on the samples at hand: Student's t.

    mean ± t(0.975, n − 1) · s / √n with the sample standard deviation s; two values at least.
    """
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return mean - half, mean + half


def interval(values: Sequence[float], samples: int) -> tuple[float, float]:
    """95 % confidence interval of the accuracy of any die on any samples, cut to 0…1.

    Dies and samples are both drawn from many. The distances of the limits from the mean over dies
    (:func:`mean_interval`) and over samples (:func:`wilson_interval`) are added in squares, as of
    independent errors (G. Y. Zou and A. Donner, Stat. Med. 27 (2008), doi:10.1002/sim.3095). Of a
    single die it is the interval over samples, which says nothing of other dies.

    Args:
        values: accuracy of each die.
        samples: that each of them was measured on, the same ones.
    """
    mean = float(np.mean(values))
    parts = [wilson_interval(mean, samples)]
    if len(values) > 1:
        parts.append(mean_interval(values))
    low, high = _combined(mean, parts)
    return max(low, 0.0), min(high, 1.0)


def interval_of(task: Task, dies: Sequence[Array]) -> tuple[float, float]:
    """95 % confidence interval of a task's figure for any die on any samples, within its bounds.

    As :func:`interval`, with the task's own interval over samples.

    Args:
        dies: units of each die, of the same samples.
    """
    values = [task.value(units) for units in dies]
    mean = float(np.mean(values))
    parts = [task.interval(dies)]
    if len(values) > 1:
        parts.append(mean_interval(values))
    low, high = _combined(mean, parts)
    return max(low, task.metric.low), min(high, task.metric.high)


def known_ends(interval: tuple[float, float]) -> tuple[float | None, float | None]:
    """The ends of an interval as files have them: None where it has no end."""
    low, high = (end if math.isfinite(end) else None for end in interval)
    return low, high


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation over dies; 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def paired_interval(gained: npt.NDArray[np.integer]) -> tuple[float, float]:
    """95 % confidence interval of a difference of accuracies on any dies and samples, in −1…1.

    Dies and samples are both drawn from many, and both conditions meet the same ones. The
    distances of the limits from the mean over dies (:func:`mean_interval`
    of each die's difference) and over samples
    (:func:`~pimc.tasks.statistics.matched_interval`) are added in squares, as
    :func:`interval` does for accuracies. Of several dies that over samples
    takes their mean of each sample; of a single die it is all.

    Args:
        gained: (dies, samples) 1 where only the first condition is right, −1 where only the second
            is, else 0.
    """
    parts = [matched_interval(gained.mean(axis=0))]
    if len(gained) > 1:
        parts.append(mean_interval(gained.mean(axis=1).tolist()))
    low, high = _combined(float(gained.mean()), parts)
    return max(low, -1.0), min(high, 1.0)


@dataclass(frozen=True)
class Difference:
    """A figure of one condition less that of another, on the same dies and samples.

    Attributes:
        per_die: of each die.
        samples: how many every die met, the same ones.
        interval: 95 % confidence interval of the mean, see :func:`paired_interval`.
    """

    per_die: tuple[float, ...]
    samples: int
    interval: tuple[float, float]

    @staticmethod
    def between(one: Sequence[Right], two: Sequence[Right]) -> Difference:
        """What ``one`` has over ``two``; die by die which samples are right, in the same order."""
        gained = np.stack(one).astype(np.int8) - np.stack(two).astype(np.int8)
        return Difference(
            tuple(gained.mean(axis=1).tolist()), gained.shape[1], paired_interval(gained)
        )

    @staticmethod
    def of(task: Task, one: Sequence[Array], two: Sequence[Array]) -> Difference:
        """What ``one`` has over ``two`` by a task's figure; units die by die, in the same order."""
        each, over_samples = task.differences(one, two)
        parts = [over_samples] if len(each) < 2 else [over_samples, mean_interval(each)]
        low, high = _combined(float(np.mean(each)), parts)
        widest = task.metric.high - task.metric.low
        return Difference(tuple(each), len(one[0]), (max(low, -widest), min(high, widest)))

    @property
    def mean(self) -> float:
        """Mean over the dies."""
        return float(np.mean(self.per_die))

    def to_dict(self) -> dict[str, Any]:
        """``mean``, ``interval_95`` and ``per_die``."""
        return {
            "mean": self.mean,
            "interval_95": list(known_ends(self.interval)),
            "per_die": list(self.per_die),
        }


def _combined(mean: float, parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The interval about a mean whose independent errors have these intervals."""
    below = math.hypot(*(max(mean - low, 0.0) for low, _ in parts))
    above = math.hypot(*(max(high - mean, 0.0) for _, high in parts))
    return mean - below, mean + above
