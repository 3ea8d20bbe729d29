"""What a task of one's own gets without saying it: checks, and intervals by the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from pimc.errors import DataError, UsageError
from pimc.tasks.metric import Metric
from pimc.tasks.task import Samples, Task, first, scored, target


@dataclass(frozen=True)
class Mean(Task):
    """Mean of the first output."""

    name: ClassVar[str] = "mean"
    metric: ClassVar[Metric] = Metric("mean")
    distills: ClassVar = "values"

    def scores(self, outputs, samples):
        return first(outputs)

    def value(self, units):
        return float(units.mean())


def draws(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(300)


def test_intervals_are_of_the_mean_over_the_dies_on_the_same_samples() -> None:
    one, two = draws(0), draws(1)
    low, high = Mean().interval([one, two])
    both = (one + two) / 2
    assert (low + high) / 2 == pytest.approx(both.mean(), abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * both.std() / np.sqrt(300), rel=0.1)


def test_differences_are_paired_sample_by_sample() -> None:
    one, two = draws(0), draws(1)
    each, (low, high) = Mean().differences([one + 0.5, two + 0.3], [one, two])
    assert each == pytest.approx([0.5, 0.3])
    # What both conditions share, however much it varies, says nothing against the difference.
    assert (low, high) == pytest.approx((0.4, 0.4))


def test_targets_are_looked_at_before_and_when_they_are_used() -> None:
    with pytest.raises(DataError, match="has no y, which the task mean needs"):
        Mean().check({"other": np.zeros(3)}, "data.npz")
    samples = Samples({}, {"y": np.zeros((3, 2))}, where="data.npz")
    with pytest.raises(DataError, match=r"y has shape \[3, 2\] and must have \[3\]"):
        target(samples, "y", (3,), "f")
    with pytest.raises(DataError, match="y holds float64, not whole numbers"):
        target(samples, "y", (3, 2))
    with pytest.raises(DataError, match="has no clip"):
        target(samples, "clip", (3,))


@pytest.mark.parametrize(
    ("given", "said"),
    [(ZeroDivisionError("no"), "scores: ZeroDivisionError: no"), (3.0, "a single value, not one")],
)
def test_a_task_that_fails_is_told_of_by_name(given, said) -> None:
    class Failing(Mean):
        def scores(self, outputs, samples):
            if isinstance(given, Exception):
                raise given
            return given

    with pytest.raises(UsageError, match=said) as caught:
        scored(Failing(), {"y": np.zeros(3)}, Samples({}, {}))
    assert caught.value.where == "task mean"
