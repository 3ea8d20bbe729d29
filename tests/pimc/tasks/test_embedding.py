"""Embeddings against the float network, and against pairs that people judged."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from pimc.errors import DataError, UsageError
from pimc.tasks.embedding import Embedding, Similarity
from pimc.tasks.task import Samples


def vectors(seed: int, count: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8))


def units_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    task = Embedding()
    return task.units(task.scores({"e": ours}, Samples({}, {}, {"e": theirs})))


def test_all_pairs_are_held_against_the_float_network() -> None:
    theirs = vectors(0)
    ours = theirs + 0.5 * vectors(1)

    def cosines(values):
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        return [float(unit[a] @ unit[b]) for a, b in itertools.combinations(range(30), 2)]

    task, units = Embedding(), units_of(ours, theirs)
    assert task.value(units) == pytest.approx(spearmanr(cosines(ours), cosines(theirs)).statistic)
    assert task.value(units_of(theirs, theirs)) == pytest.approx(1)
    low, high = task.interval([units])
    assert low < task.value(units) < high
    # A sample that is drawn twice makes no pair with itself.
    twice = np.concatenate([units, units])
    assert task.value(twice) == pytest.approx(task.value(units), abs=1e-3)


def test_recall_counts_the_float_networks_nearest_sample() -> None:
    theirs = vectors(2)
    assert Embedding().figures(units_of(theirs, theirs)) == {"recall_at_1": 1, "recall_at_10": 1}
    far = Embedding().figures(units_of(vectors(3), theirs))
    assert far["recall_at_1"] < far["recall_at_10"] < 1


def test_tokens_are_averaged_where_the_mask_leaves_them() -> None:
    values, mask = np.ones((2, 3, 4)), np.array([[1, 1, 0], [1, 0, 0]])
    values[0, 2], values[0, 1, 0] = 100, 3
    samples = Samples({"attention_mask": mask}, {}, {"e": values})
    found = Embedding().scores({"e": values}, samples)
    pooled = np.array([2.0, 1, 1, 1])
    np.testing.assert_allclose(found[0, :4], pooled / np.linalg.norm(pooled))
    with pytest.raises(UsageError, match=r"shape \[2\], not"):
        Embedding().scores({"e": np.zeros(2)}, samples)


def test_pairs_find_each_other_whatever_the_order() -> None:
    rng, task = np.random.default_rng(4), Similarity()
    one, two, alike = vectors(5), vectors(6), rng.random(30)
    order = rng.permutation(60)
    both, pair = np.concatenate([one, two])[order], np.tile(np.arange(30), 2)[order]
    samples = Samples({}, {"pair": pair, "y": np.tile(alike, 2)[order]})
    units = task.units(task.scores({"e": both}, samples))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    np.testing.assert_allclose(units, np.stack([(one * two).sum(axis=1) / lengths, alike], axis=1))
    assert task.value(units) == pytest.approx(spearmanr(units[:, 0], alike).statistic)


def test_pairs_are_of_two_samples_that_agree() -> None:
    def units(pair: list[int], alike: list[float]) -> np.ndarray:
        targets = {"pair": np.array(pair), "y": np.array(alike)}
        return Similarity().units(Similarity().scores({"e": np.eye(4)}, Samples({}, targets)))

    with pytest.raises(DataError, match="pair 7 has 3 samples, not two"):
        units([7, 7, 7, 1], [0.5, 0.5, 0.5, 1])
    with pytest.raises(DataError, match="y differs within pair 3"):
        units([3, 1, 3, 1], [0.5, 1, 0.6, 1])


def test_a_mask_of_another_length_is_refused() -> None:
    samples = Samples({"attention_mask": np.ones((2, 5))}, {}, {"e": np.ones((2, 3, 4))})
    with pytest.raises(UsageError, match=r"\[2, 3, 4\], not \(samples, 5 tokens"):
        Embedding().scores({"e": np.ones((2, 3, 4))}, samples)
