"""Formulas against sums over all pairs, SciPy and repeated draws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from pimc.tasks.statistics import (
    auc,
    auc_influence,
    bootstrap_interval,
    normal_interval,
    spearman,
)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_share_of_pairs_in_order(seed) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 40), rng.random(40) < 0.3
    pairs = list(itertools.product(scores[positive], scores[~positive]))
    wanted = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    assert auc(scores, positive) == pytest.approx(wanted)
    assert math.isnan(auc(scores, np.ones(40)))


def test_the_influence_gives_the_variance_of_delong() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.standard_normal(60), np.arange(60) < 25
    scores[positive] += 0.8
    above = scores[positive][:, None] > scores[~positive][None, :]
    of_positive, of_others = above.mean(axis=1), above.mean(axis=0)
    wanted = of_positive.var(ddof=1) / 25 + of_others.var(ddof=1) / 35
    adds = auc_influence(scores, positive)
    assert (adds**2).sum() / 60**2 == pytest.approx(wanted)
    low, high = normal_interval(auc(scores, positive), adds)
    assert high - low == pytest.approx(2 * 1.959964 * math.sqrt(wanted), rel=1e-5)


def test_intervals_of_auc_cover_the_truth_in_19_of_20_draws() -> None:
    rng, covered = np.random.default_rng(1), 0
    positive = np.arange(200) < 80
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1)) = Φ(1 / √2)
    for _ in range(400):
        scores = rng.standard_normal(200) + positive
        low, high = normal_interval(auc(scores, positive), auc_influence(scores, positive))
        covered += low <= truth <= high
    assert 0.92 < covered / 400 < 0.98


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(2)
    one = rng.integers(0, 9, 50)
    two = one + rng.integers(0, 9, 50)
    assert spearman(one, two) == pytest.approx(float(spearmanr(one, two).statistic))
    assert math.isnan(spearman(one, np.zeros(50)))


def test_the_bootstrap_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(3).standard_normal(400)
    low, high = bootstrap_interval(lambda chosen: float(values[chosen].mean()), 400)
    error = values.std(ddof=1) / 20
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (low, high) == bootstrap_interval(lambda chosen: float(values[chosen].mean()), 400)


def test_a_single_sample_leaves_the_figure_open() -> None:
    everything = (-math.inf, math.inf)
    assert normal_interval(0.5, np.zeros(1)) == everything
    assert bootstrap_interval(lambda chosen: 0.5, 1) == everything
