"""Whether two samples are of one distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

Array64 = npt.NDArray[np.float64]

#: Standard errors that a statistic may be off: by chance one of 1.7 million is.
BOUND = 5.0


def assert_same_moments(fast: Array64, slow: Array64) -> None:
    """Means, variances, covariances and tails of (draws, quantities) agree.

    Each within ``BOUND`` standard errors of the difference, taken from the samples themselves.
    """
    for name, (one, error_one), (two, error_two) in (
        (name, statistic(fast), statistic(slow))
        for name, statistic in (("mean", means), ("covariance", covariances))
    ):
        error = np.sqrt(error_one**2 + error_two**2)
        worst = np.max(np.abs(one - two) - BOUND * error)
        assert worst <= 1e-6 * np.abs(two).max(), f"{name}: {one} is not {two} ± {error}"
    centre, sigma = slow.mean(axis=0), slow.std(axis=0)
    for side in (-1, 1):
        one, two = ((side * (v - centre) > 3 * sigma).mean(axis=0) for v in (fast, slow))
        # Of a rare event's count; one more allows for none at all.
        error = np.sqrt((one + two + 1 / len(slow)) / len(slow))
        assert (np.abs(one - two) <= BOUND * error).all(), f"tails: {one} is not {two} ± {error}"


def means(values: Array64) -> tuple[Array64, Array64]:
    """Means and their standard errors."""
    return values.mean(axis=0), values.std(axis=0) / len(values) ** 0.5


def covariances(values: Array64) -> tuple[Array64, Array64]:
    """Covariance matrix and its standard errors: √(Var((a − ā)(b − b̄)) / n)."""
    off = values - values.mean(axis=0)
    found = off.T @ off / len(off)
    fourth = (off**2).T @ off**2 / len(off)
    return found, np.sqrt(np.maximum(fourth - found**2, 0) / len(off))


def assert_same_codes(fast: Array64, slow: Array64) -> None:
    """Whole numbers (draws, quantities) have the same frequencies: χ² of two samples."""
    for pair in zip(fast.T, slow.T, strict=True):
        codes = np.stack(pair).astype(np.int64)
        codes -= codes.min()
        counts = np.stack([np.bincount(c, minlength=codes.max() + 1) for c in codes])
        # Rare codes count together, so that χ² is one.
        common = counts.sum(axis=0) >= 20
        counts = np.column_stack([counts[:, common], counts[:, ~common].sum(axis=1)])
        total = counts.sum(axis=0)
        squares = (counts[0] - counts[1])[total > 0] ** 2 / total[total > 0]
        if len(squares) > 1:
            assert chi2.sf(squares.sum(), len(squares) - 1) > 2 * norm.sf(BOUND)
