"""Regression and reconstruction: errors, their intervals, and clips."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import DataError, UsageError
from pimc.tasks.statistics import auc, normal_interval
from pimc.tasks.task import Samples
from pimc.tasks.values import Anomaly, Regression


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_regression_tells_rmse_r2_and_mean_absolute_error(shape) -> None:
    rng, task = np.random.default_rng(0), Regression()
    wanted = rng.standard_normal(shape)
    found = (wanted + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    units = task.scores({"y": found}, Samples({}, {"y": wanted}))
    off = found - wanted
    assert task.value(units) == pytest.approx(np.sqrt((off**2).mean()))
    r2 = 1 - (off**2).sum(axis=0) / ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)
    assert task.figures(units)["r2"] == pytest.approx(r2.mean())
    assert task.figures(units)["mae"] == pytest.approx(np.abs(off).mean())
    assert not task.metric.higher_is_better


def test_intervals_of_rmse_cover_the_truth() -> None:
    rng, task, covered = np.random.default_rng(1), Regression(), 0
    for _ in range(300):
        units = np.stack([rng.standard_normal((200, 1)), np.zeros((200, 1))], axis=1)
        low, high = normal_interval(task.value(units), task.influence(units))
        assert task.interval([units]) == (low, high)
        covered += low <= 1 <= high
    assert 0.9 < covered / 300 < 0.99


def test_errors_are_averaged_by_clip_whatever_the_order_of_samples() -> None:
    rng, task = np.random.default_rng(2), Anomaly()
    x, clips = rng.standard_normal((60, 8)), rng.permutation(np.arange(60) % 12)
    labels = (clips % 3 == 0).astype(int)
    y = x + rng.standard_normal((60, 8)) * (1 + labels[:, None])
    samples = Samples({"x": x}, {"y": labels, "clip": clips})
    units = task.units(task.scores({"out": y}, samples))
    errors = ((y - x) ** 2).mean(axis=1)
    of_clip = np.array([errors[clips == clip].mean() for clip in range(12)])
    assert units[:, 0] == pytest.approx(of_clip)
    assert task.value(units) == auc(of_clip, np.arange(12) % 3 == 0)


def test_without_clips_every_sample_is_one() -> None:
    task, x = Anomaly(), np.arange(12.0).reshape(4, 3)
    scores = task.scores({"out": x + 1}, Samples({"x": x}, {"y": np.array([0, 1, 0, 1])}))
    assert task.units(scores).tolist() == [[1, 0], [1, 1], [1, 0], [1, 1]]
    assert task.value(task.units(scores)) == 0.5


def test_what_does_not_fit_is_refused() -> None:
    x, labels = np.zeros((4, 3)), np.zeros(4, int)
    with pytest.raises(UsageError, match=r"shape \[4, 2\], not \[4, 3\], that of the input"):
        Anomaly().scores({"out": x[:, :2]}, Samples({"x": x}, {"y": labels}))
    with pytest.raises(DataError, match="clip holds negative numbers"):
        Anomaly().scores({"out": x}, Samples({"x": x}, {"y": labels, "clip": labels - 2}))
    with pytest.raises(DataError, match=r"y has shape \[4\] and must have \[4, 3\]"):
        Regression().scores({"out": x}, Samples({"x": x}, {"y": np.zeros(4)}))


def test_a_figure_without_samples_is_refused() -> None:
    with pytest.raises(UsageError, match=r"shape \[\], not \(samples, …\)"):
        Regression().scores({"out": np.ones((), np.float32)}, Samples({}, {"y": np.zeros(4)}))
    with pytest.raises(UsageError, match=r"shape \[\], not \[4, 3\]"):
        Anomaly().scores({"out": np.zeros(())}, Samples({"x": np.zeros((4, 3))}, {}))
