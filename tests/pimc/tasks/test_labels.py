"""Binary and multi-label tasks: AUC, F1, and outputs that are none of theirs."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import DataError, UsageError
from pimc.tasks.labels import Binary, MultiLabel
from pimc.tasks.statistics import auc
from pimc.tasks.task import Samples


def scored(task, values, labels):
    return task.scores({"y": np.asarray(values)}, Samples({}, {"y": np.asarray(labels)}))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_score_a_sample(shape) -> None:
    units = scored(Binary(), np.array([0.1, 0.9, 0.6, 0.4]).reshape(shape), [0, 1, 0, 1])
    assert Binary().value(units) == 0.75
    # Probabilities are called positive from 1/2 on.
    assert Binary().figures(units) == {"f1": 0.5, "accuracy": 0.5}


def test_two_classes_are_their_difference() -> None:
    values, labels = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 2.0]]), [0, 1, 0]
    units = scored(Binary(), values, labels)
    assert units[:, 0].tolist() == [-1, 3, 1]
    assert Binary().figures(units)["f1"] == pytest.approx(2 / 3)


def test_several_labels_are_averaged_where_both_kinds_were_met() -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((50, 3)), rng.integers(0, 2, (50, 3))
    labels[:, 2] = 0
    task, units = MultiLabel(), scored(MultiLabel(), values, labels)
    each = [auc(values[:, n], labels[:, n]) for n in (0, 1)]
    assert task.value(units) == pytest.approx(np.mean(each))
    figures = task.figures(units)
    assert figures["auc_per_label"] == {"0": each[0], "1": each[1]}
    called = values > 0
    right = (called & (labels > 0)).sum()
    assert figures["f1"] == pytest.approx(2 * right / (called.sum() + labels.sum()))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="not \\(samples,\\), \\(samples, 1\\)"):
        scored(Binary(), np.zeros((4, 3)), np.zeros(4, int))
    with pytest.raises(DataError, match=r"y has shape \[3\] and must have \[4, 2\]"):
        scored(MultiLabel(), np.zeros((4, 2)), np.zeros(3, int))
    with pytest.raises(DataError, match="has no y, which the task binary needs"):
        Binary().check({}, "data.npz")


def test_two_classes_are_called_by_the_larger_one_even_where_all_are_called_positive() -> None:
    positive = np.array([0.6, 0.7, 0.9])
    units = scored(Binary(), np.stack([1 - positive, positive], axis=1), [1, 1, 0])
    assert Binary().figures(units) == pytest.approx({"f1": 0.8, "accuracy": 2 / 3})


@pytest.mark.parametrize("labels", [[1, 2, 1, 2], [0, 1, 2, 3], [-1.0, 1.0, -1.0, 1.0]])
def test_labels_are_zero_or_one(labels) -> None:
    with pytest.raises(DataError, match="y holds other values than 0 and 1"):
        scored(Binary(), np.zeros(4), labels)
    with pytest.raises(DataError, match="y holds other values than 0 and 1"):
        scored(MultiLabel(), np.zeros((4, 1)), np.reshape(labels, (4, 1)))
