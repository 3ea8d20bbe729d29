"""Which steps of a sequence a task judges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pimc.studies.steps import judged, judged_targets
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.embedding import Embedding
from pimc.tasks.labels import Binary
from pimc.tasks.language import LanguageModel
from pimc.tasks.task import Samples
from pimc.tasks.values import Anomaly

RNG = np.random.default_rng(0)


def test_every_step_that_has_a_target() -> None:
    scores, y = RNG.random((4, 5, 1)), RNG.integers(0, 2, (4, 5))
    samples = Samples({"x": RNG.random((4, 5, 3)), "who": RNG.random((4, 7))}, {"y": y})
    outputs, found = judged(Binary(), {"p": scores}, samples, 5, ["x"])
    np.testing.assert_array_equal(outputs["p"], scores.reshape(20, 1))
    np.testing.assert_array_equal(found.targets["y"], y.reshape(20))
    assert found.inputs["x"].shape == (20, 3)
    np.testing.assert_array_equal(
        found.inputs["who"][5:10], np.repeat(samples.inputs["who"][1:2], 5, 0)
    )
    whole = Binary().units(Binary().scores(outputs, found))
    assert Binary().value(whole) == pytest.approx(
        Binary().value(np.stack([scores.reshape(-1), y.reshape(-1)], axis=1))
    )


def test_the_last_step_where_targets_have_none() -> None:
    logits, y = RNG.random((4, 5, 3)), np.array([0, 1, 2, 1])
    outputs, found = judged(CLASSIFICATION, {"y": logits}, Samples({}, {"y": y}), 5)
    np.testing.assert_array_equal(outputs["y"], logits[:, -1])
    assert found.targets["y"] is y
    CLASSIFICATION.check(judged_targets(CLASSIFICATION, {"y": y}, 5), "data")


def test_steps_beyond_the_end_count_for_nothing() -> None:
    logits, y = RNG.random((2, 4, 3)), np.array([[0, 1, -1, -1], [2, 2, 2, -1]])
    outputs, found = judged(CLASSIFICATION, {"y": logits}, Samples({}, {"y": y}), 4)
    assert found.targets["y"].tolist() == [0, 1, 2, 2, 2]
    np.testing.assert_array_equal(outputs["y"], logits[y >= 0])
    CLASSIFICATION.check(judged_targets(CLASSIFICATION, {"y": y}, 4), "data")


def test_clips_of_an_anomaly_are_sequences() -> None:
    x, y = RNG.random((3, 4, 2)), np.repeat([[0], [1], [0]], 4, axis=1)
    samples = Samples({"x": x}, {"y": y, "clip": np.arange(3)})
    outputs, found = judged(Anomaly(), {"o": x * [[[0.9]], [[0.5]], [[0.8]]]}, samples, 4, ["x"])
    units = Anomaly().units(Anomaly().scores(outputs, found))
    assert len(units) == 3
    assert Anomaly().value(units) == 1.0


def test_a_language_model_reads_all_steps_in_a_row() -> None:
    logits, ids = RNG.random((2, 6, 1, 5)), RNG.integers(0, 5, (2, 6, 1))
    task = LanguageModel()
    outputs, found = judged(task, {"o": logits}, Samples({"ids": ids}, {}), 6, ["ids"])
    whole = task.scores({"o": logits[:, :, 0]}, Samples({"ids": ids[:, :, 0]}, {}))
    np.testing.assert_array_equal(task.scores(outputs, found), whole)
    assert not math.isnan(task.value(whole))
    flat, _ = judged(task, {"o": logits[:, :, 0]}, Samples({"ids": ids}, {}), 6, ["ids"])
    np.testing.assert_array_equal(flat["o"], logits[:, :, 0])


def test_the_float_networks_outputs_are_those_of_the_same_steps() -> None:
    out, wanted = RNG.random((5, 3, 4)), RNG.random((5, 3, 4))
    samples = Samples({}, {}, {"o": wanted})
    outputs, found = judged(Embedding(), {"o": out}, samples, 3)
    np.testing.assert_array_equal(outputs["o"], out[:, -1])
    np.testing.assert_array_equal(found.wanted["o"], wanted[:, -1])


def test_without_steps_nothing_changes() -> None:
    outputs, samples = {"p": RNG.random((4, 1))}, Samples({}, {"y": np.ones(4)})
    assert judged(Binary(), outputs, samples, None) == (outputs, samples)
