"""Metrics: direction, units, and what stands for them in keys."""

from __future__ import annotations

import math

from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric


def test_shares_are_shown_in_per_cent_and_other_values_as_they_are() -> None:
    share, volts = Metric("accuracy", "%"), Metric("offset", "V", higher_is_better=False)
    assert (share.text(0.8765), share.texts(0.5, 0.75), share.text(None)) == (
        "87.65 %", "50.00 to 75.00 %", "–",
    )  # fmt: skip
    assert (volts.text(1.23456), volts.texts(None, None)) == ("1.235 V", "–")


def test_worse_is_a_matter_of_direction() -> None:
    higher, lower = Metric("accuracy"), Metric("RMSE", higher_is_better=False)
    assert (higher.worse_by(0.5, 0.75), lower.worse_by(0.5, 0.75)) == (0.25, -0.25)
    assert (higher.direction, lower.direction) == ("higher", "lower")
    # Keys go by the task, whatever a metric of one's own is called.
    assert (higher.key, lower.key, CLASSIFICATION.metric.key) == ("metric", "metric", "accuracy")
    assert lower.texts(0.0, math.inf) == "–"
