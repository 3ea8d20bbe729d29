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
    # Sums over the last axis are the fast ones.
    fast, slow = np.ascontiguousarray(fast.T), np.ascontiguousarray(slow.T)
    for name, (one, error_one), (two, error_two) in (
        (name, statistic(fast), statistic(slow))
        for name, statistic in (("mean", means), ("covariance", covariances))
    ):
        error = np.sqrt(error_one**2 + error_two**2)
        worst = np.max(np.abs(one - two) - BOUND * error)
        assert worst <= 1e-6 * np.abs(two).max(), f"{name}: {one} is not {two} ± {error}"
    centre, sigma = slow.mean(axis=1, keepdims=True), slow.std(axis=1, keepdims=True)
    far = [(v - centre) / np.where(sigma > 0, sigma, 1.0) for v in (fast, slow)]
    for side in (-1, 1):
        one, two = ((side * v > 3).mean(axis=1) for v in far)
        # Of a rare event's count; one more allows for none at all.
        error = np.sqrt((one + two + 1 / slow.shape[1]) / slow.shape[1])
        assert (np.abs(one - two) <= BOUND * error).all(), f"tails: {one} is not {two} ± {error}"


def means(values: Array64) -> tuple[Array64, Array64]:
    """Means of (quantities, draws) and their standard errors."""
    return values.mean(axis=1), values.std(axis=1) / values.shape[1] ** 0.5


def covariances(values: Array64) -> tuple[Array64, Array64]:
    """Covariance matrix and its standard errors: √(Var((a − ā)(b − b̄)) / n)."""
    off = values - values.mean(axis=1, keepdims=True)
    count = values.shape[1]
    found, fourth = off @ off.T / count, off**2 @ (off**2).T / count
    return found, np.sqrt(np.maximum(fourth - found**2, 0) / count)


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
