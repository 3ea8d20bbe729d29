"""Confidence intervals over dies and samples, of accuracies and of paired differences."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
from scipy.stats import norm, t

from pimc.studies.intervals import (
    Difference,
    deviation,
    interval,
    mean_interval,
    paired_interval,
    wilson_interval,
)


def test_intervals_against_scipy_and_the_textbook() -> None:
    values = [0.8, 0.85, 0.9, 0.7]
    wanted = t.interval(0.95, 3, np.mean(values), np.std(values, ddof=1) / 2)
    np.testing.assert_allclose(mean_interval(values), wanted, rtol=1e-12)
    # Wilson's interval is where the score test just accepts the share.
    low, high = wilson_interval(0.9, 200)
    for bound in (low, high):
        z = abs(0.9 - bound) / np.sqrt(bound * (1 - bound) / 200)
        assert 2 * norm.sf(z) == pytest.approx(0.05, abs=1e-9)
    assert low < 0.9 < high


def test_dies_that_agree_do_not_make_samples_certain() -> None:
    """Two dies of equal accuracy on 100 samples say no more of the network than one does."""
    assert interval([0.78, 0.78], 100) == pytest.approx(wilson_interval(0.78, 100))
    assert interval([0.78], 100) == pytest.approx(wilson_interval(0.78, 100))


def test_an_interval_holds_dies_and_samples() -> None:
    """Simulated experiments: 95 % of the intervals hold the accuracy of all dies on all samples."""
    rng = np.random.default_rng(0)
    samples, dies, held = 200, 5, 0
    for _ in range(600):
        hard = rng.normal(size=samples)
        scores = 1.0 + 0.2 * rng.normal(size=dies)
        right = scores[:, None] + 0.5 * rng.normal(size=(dies, samples)) > hard
        low, high = interval(right.mean(axis=1).tolist(), samples)
        # Of score 1, all variances together: 1.04 + 0.25 + 1 − 1.
        held += low <= norm.cdf(1 / np.sqrt(1 + 0.2**2 + 0.5**2)) <= high
    assert 0.93 <= held / 600 <= 0.995


def test_the_deviation_over_dies_is_not_smaller_than_that_of_all_dies() -> None:
    """Its square is right on average over all samples, however few dies each of them has."""
    every = [0.91, 0.88, 0.93, 0.75, 0.86]
    for count in (2, 3):
        samples = itertools.product(every, repeat=count)
        mean = statistics.fmean(deviation(sample) ** 2 for sample in samples)
        assert mean == pytest.approx(statistics.pvariance(every))
    assert deviation(every) == pytest.approx(statistics.stdev(every))
    assert deviation([0.9]) == 0.0


def test_intervals_stay_shares() -> None:
    assert interval([0.1, 0.99], 50) == (0.0, 1.0)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0.0)
    assert wilson_interval(1.0, 10)[0] < 0.75


# --- paired differences ------------------------------------------------------------------------


def right_of(shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples that dies get right, for the score of each die and sample."""
    return shares + 0.5 * rng.normal(size=shares.shape) > 0


def test_differences_are_paired_by_die_and_sample() -> None:
    one = np.array([[True, True, False, True], [True, False, True, True]])
    two = np.array([[False, True, False, True], [True, True, False, False]])
    found = Difference.between(list(one), list(two))
    assert (found.per_die, found.samples) == ((0.25, 0.25), 4)
    assert found.mean == 0.25
    back = Difference.between(list(two), list(one))
    assert back.mean == -0.25
    assert back.interval == pytest.approx((-found.interval[1], -found.interval[0]))
    table = {"mean": 0.25, "interval_95": list(found.interval), "per_die": [0.25, 0.25]}
    assert found.to_dict() == table


def test_of_one_die_it_is_the_adjusted_wald_interval() -> None:
    """By the formula: half a sample added to each of the four outcomes of a pair."""
    won, lost, count = 9, 3, 80
    gained = np.array([[1] * won + [-1] * lost + [0] * (count - won - lost)])
    n, b, c = count + 2, won + 0.5, lost + 0.5
    error = np.sqrt((b + c) / n - ((b - c) / n) ** 2) / np.sqrt(n)
    wanted = (b - c) / n + norm.ppf([0.025, 0.975]) * error
    assert paired_interval(gained) == pytest.approx(tuple(wanted), rel=1e-9)


def test_conditions_that_agree_on_every_sample_are_not_taken_to_agree_on_all_others() -> None:
    for dies in (1, 2, 5):
        low, high = paired_interval(np.zeros((dies, 100), np.int8))
        assert -0.03 < low < -0.01
        assert 0.01 < high < 0.03


def test_dies_that_lose_the_same_leave_the_samples_open() -> None:
    """Two dies that lose the same two of 100 samples say no more than one does."""
    gained = np.zeros((1, 100), np.int8)
    gained[0, :2] = 1
    assert paired_interval(np.repeat(gained, 2, axis=0)) == pytest.approx(paired_interval(gained))


def test_pairing_takes_off_what_both_conditions_share() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 1)) + 1 + 2 * rng.normal(size=(1, 400))
    one, two = right_of(scores + 0.2, rng), right_of(scores, rng)
    low, high = Difference.between(list(one), list(two)).interval
    apart = [np.ptp(interval(each.mean(axis=1).tolist(), 400)) for each in (one, two)]
    assert high - low < 0.5 * np.hypot(*apart)


@pytest.mark.parametrize(("dies", "samples"), [(1, 200), (2, 100), (5, 200), (10, 300)])
def test_a_paired_interval_holds_dies_and_samples(dies: int, samples: int) -> None:
    """Simulated experiments: at least 94 % of the intervals hold the true difference.

    For a single die that is its own, over all samples.
    """
    rng = np.random.default_rng(dies)
    held, count = 0, 500
    for _ in range(count):
        hard = 2 * rng.normal(size=samples)
        cost = 0.3 + 0.3 * rng.normal(size=(dies, 1)) * (dies > 1)
        base = 1.5 + 0.3 * rng.normal(size=(dies, 1)) * (dies > 1)
        one, two = right_of(base - hard, rng), right_of(base - cost - hard, rng)
        low, high = Difference.between(list(one), list(two)).interval
        spread = 0.09 * (dies > 1)
        true = norm.cdf(1.5 / np.sqrt(4.25 + spread)) - norm.cdf(1.2 / np.sqrt(4.25 + 2 * spread))
        held += low <= true <= high
    assert 0.94 <= held / count <= 1.0


def test_paired_intervals_stay_differences_of_shares() -> None:
    assert paired_interval(np.ones((2, 3), np.int8))[1] == 1.0
    low, high = paired_interval(np.array([[1, 1, -1], [-1, -1, -1]]))
    assert -1.0 <= low < -1 / 3 < high <= 1.0
