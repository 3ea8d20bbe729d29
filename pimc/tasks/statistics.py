"""Figures over samples and what samples leave open of them: formulas with their sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Z",
    "auc",
    "auc_influence",
    "bootstrap_interval",
    "jackknife_interval",
    "matched_interval",
    "normal_interval",
    "spearman",
    "wilson_interval",
]

CONFIDENCE = 0.95
#: The quantile of the normal distribution that belongs to it.
Z = 1.959963984540054

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


def wilson_interval(share: float, samples: int) -> Interval:
    """95 % confidence interval of a share of ``samples``: Wilson's score interval.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), doi:10.1080/01621459.1927.10502953.
    """
    z = Z
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples)
    half *= math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def matched_interval(of_sample: npt.NDArray[Any]) -> Interval:
    """95 % confidence interval of the mean of differences in −1…1: adjusted Wald, matched pairs.

    A. Agresti and Y. Min, Stat. Med. 24 (2005), doi:10.1002/sim.1781: half a sample is added to
    each of the four outcomes of a pair, so that conditions which agree on all samples are not
    taken to agree on all others.
    """
    count, total = len(of_sample) + 2, float(of_sample.sum())
    half = Z * math.sqrt(float((of_sample**2).sum()) + 1 - total**2 / count) / count
    return total / count - half, total / count + half


def normal_interval(value: float, influence: npt.NDArray[Any]) -> Interval:
    """Value ± 1.96 √Σ u² / n with what each of n samples adds, u (infinitesimal jackknife).

    B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982),
    doi:10.1137/1.9781611970319, chapter 6. A single sample leaves every value open.
    """
    if len(influence) < 2:
        return -math.inf, math.inf
    half = Z * math.sqrt(float(np.square(influence, dtype=np.float64).sum())) / len(influence)
    return value - half, value + half


def bootstrap_interval(
    value: Callable[[npt.NDArray[np.intp]], float], samples: int, *, draws: int = 1000
) -> Interval:
    """95 % percentile interval of a figure over samples drawn anew, with a seed of its own.

    B. Efron, Ann. Stat. 7 (1979), doi:10.1214/aos/1176344552. Draws for which the figure is not
    defined, NaN, do not count. A single sample leaves every value open.

    Args:
        value: the figure of the samples at these indices.
        samples: how many there are.
    """
    if samples < 2:
        return -math.inf, math.inf
    rng = np.random.default_rng(0)
    found = np.array([value(rng.integers(0, samples, samples)) for _ in range(draws)])
    found = found[~np.isnan(found)]
    if not len(found):
        return -math.inf, math.inf
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def jackknife_interval(
    value: Callable[[npt.NDArray[np.intp]], float], samples: int, *, groups: int = 20
) -> Interval:
    """95 % interval of a figure that takes long: the jackknife that leaves out groups of samples.

    R. G. Miller, Biometrika 61 (1974), doi:10.1093/biomet/61.1.1; Student's t with one degree of
    freedom less than groups.

    Args:
        value: the figure of the samples at these indices.
        samples: how many there are; every ``groups``-th makes a group.
    """
    from scipy.stats import t

    numbers, count = np.arange(samples), min(groups, samples)
    if count < 2:
        return -math.inf, math.inf
    left = np.array([value(numbers[numbers % count != group]) for group in range(count)])
    left = left[~np.isnan(left)]
    if not len(left):
        return -math.inf, math.inf
    error = math.sqrt((count - 1) / count * float(np.square(left - left.mean()).sum()))
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    whole = value(numbers)
    return whole - half, whole + half


def auc(scores: npt.NDArray[Any], positive: npt.NDArray[Any]) -> float:
    """Area under the ROC curve by ranks, ties by halves; NaN where one kind is missing.

    J. A. Hanley and B. J. McNeil, Radiology 143 (1982), doi:10.1148/radiology.143.1.7063747.

    Args:
        scores: (samples,) larger where a sample is more likely positive.
        positive: (samples,) 1 or True where it is.
    """
    from scipy.stats import rankdata

    chosen = np.asarray(positive, bool)
    count, others = int(chosen.sum()), int((~chosen).sum())
    if not count or not others:
        return math.nan
    ranks = rankdata(scores)
    return float((ranks[chosen].sum() - count * (count + 1) / 2) / (count * others))


def auc_influence(scores: npt.NDArray[Any], positive: npt.NDArray[Any]) -> Floats:
    """What each sample adds to the AUC: √Σ u² / n is the standard error of DeLong et al.

    E. R. DeLong et al., Biometrics 44 (1988), doi:10.2307/2531595; by ranks as X. Sun and W. Xu,
    IEEE Signal Process. Lett. 21 (2014), doi:10.1109/LSP.2014.2337313. Differences of two
    conditions on the same samples have the differences of what each adds.
    """
    from scipy.stats import rankdata

    chosen = np.asarray(positive, bool)
    adds = np.zeros(len(chosen))
    count, others = int(chosen.sum()), int((~chosen).sum())
    if not count or not others:
        return adds
    ranks = rankdata(scores)
    below = (ranks[chosen] - rankdata(scores[chosen])) / others
    above = 1 - (ranks[~chosen] - rankdata(scores[~chosen])) / count
    for part, components in ((chosen, below), (~chosen, above)):
        number = len(components)
        unbiased = math.sqrt(number / max(number - 1, 1))
        adds[part] = unbiased * (components - components.mean()) * len(chosen) / number
    return adds


def spearman(one: npt.NDArray[Any], two: npt.NDArray[Any]) -> float:
    """Spearman's rank correlation, ties by mean ranks; NaN where either is constant.

    C. Spearman, Am. J. Psychol. 15 (1904), doi:10.2307/1412159.
    """
    from scipy.stats import rankdata

    first, second = (ranks - ranks.mean() for ranks in (rankdata(one), rankdata(two)))
    power = float((first**2).sum() * (second**2).sum())
    return float((first * second).sum()) / math.sqrt(power) if power > 0 else math.nan


def mean_of(values: Sequence[float]) -> float:
    """The mean of the values that are defined; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
