"""What dies and samples leave open: confidence intervals of accuracies and of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Difference",
    "Right",
    "deviation",
    "interval",
    "mean_interval",
    "paired_interval",
    "wilson_interval",
]

CONFIDENCE = 0.95
#: The quantile of the normal distribution that belongs to it.
_Z = 1.959963984540054

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


def wilson_interval(share: float, samples: int) -> tuple[float, float]:
    """95 % confidence interval of a share of ``samples``: Wilson's score interval.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), doi:10.1080/01621459.1927.10502953.
    """
    z = _Z
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples)
    half *= math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation over dies; 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def paired_interval(gained: npt.NDArray[np.integer]) -> tuple[float, float]:
    """95 % confidence interval of a difference of accuracies on any dies and samples, in −1…1.

    Dies and samples are both drawn from many, and both conditions meet the same ones. The
    distances of the limits from the mean over dies (:func:`mean_interval`
    of each die's difference) and over samples are added in squares, as
    :func:`interval` does for accuracies. That over samples is the adjusted
    Wald interval of matched proportions (A. Agresti and Y. Min, Stat. Med. 24 (2005),
    doi:10.1002/sim.1781): half a sample is added to each of the four outcomes of a pair, so that
    conditions which agree on all samples are not taken to agree on all others. Of several dies
    it takes their mean of each sample; of a single die it is all.

    Args:
        gained: (dies, samples) 1 where only the first condition is right, −1 where only the second
            is, else 0.
    """
    of_sample = gained.mean(axis=0)
    mean, count = float(gained.mean()), len(of_sample) + 2
    total = float(of_sample.sum())
    half = _Z * math.sqrt(float((of_sample**2).sum()) + 1 - total**2 / count) / count
    parts = [(total / count - half, total / count + half)]
    if len(gained) > 1:
        parts.append(mean_interval(gained.mean(axis=1).tolist()))
    low, high = _combined(mean, parts)
    return max(low, -1.0), min(high, 1.0)


@dataclass(frozen=True)
class Difference:
    """Accuracy of one condition less that of another, on the same dies and samples, as shares.

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

    @property
    def mean(self) -> float:
        """Mean over the dies."""
        return float(np.mean(self.per_die))

    def to_dict(self) -> dict[str, Any]:
        """``mean``, ``interval_95`` and ``per_die``."""
        return {
            "mean": self.mean,
            "interval_95": list(self.interval),
            "per_die": list(self.per_die),
        }


def _combined(mean: float, parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The interval about a mean whose independent errors have these intervals."""
    below = math.hypot(*(mean - low for low, _ in parts))
    above = math.hypot(*(high - mean for _, high in parts))
    return mean - below, mean + above
