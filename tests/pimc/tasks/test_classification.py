"""Classification: ranks of labels, what is told of them, and labels that are none."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import DataError
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.statistics import wilson_interval
from pimc.tasks.task import Samples


def units(values, labels):
    return CLASSIFICATION.scores({"y": np.asarray(values)}, Samples({}, {"y": np.asarray(labels)}))


def test_the_rank_is_zero_exactly_where_argmax_is_the_label() -> None:
    rng = np.random.default_rng(0)
    # Whole numbers, so that many are equal.
    values, labels = rng.integers(0, 4, (500, 7)), rng.integers(0, 7, 500)
    found = units(values, labels)
    assert ((found[:, 0] == 0) == (values.argmax(axis=1) == labels)).all()
    assert CLASSIFICATION.value(found) == (values.argmax(axis=1) == labels).mean()


def test_top_5_and_per_class() -> None:
    values = np.tile(np.arange(10)[::-1], (4, 1))  # class 0 is the largest, 9 the smallest
    figures = CLASSIFICATION.figures(units(values, [0, 4, 5, 0]))
    assert figures == {"top_5": 0.75, "per_class": {"0": 1.0, "4": 0.0, "5": 0.0}}


def test_the_interval_is_that_of_a_share_of_the_samples() -> None:
    one, two = units(np.eye(4), [0, 1, 2, 0]), units(np.eye(4), [0, 1, 2, 3])
    assert CLASSIFICATION.interval([one, two]) == wilson_interval(7 / 8, 4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3), "y holds float64, not whole numbers"),
        (np.eye(3, dtype=int), r"y holds values of shape \[3\]"),
        (np.array([0, -1, 1]), "negative class numbers"),
        (None, "has no labels"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels, message) -> None:
    targets = {} if labels is None else {"y": labels}
    with pytest.raises(DataError, match=message):
        CLASSIFICATION.check(targets, "data.npz")
