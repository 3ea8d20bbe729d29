"""How good images are on held-out samples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pimc.data.dataset import Dataset
from pimc.errors import DataError
from pimc.progress import silent
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from pimc.studies.spending import judge as module
from pimc.studies.spending.front import Offer, Point
from pimc.studies.spending.judge import Judge, State
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.find import task_named

POINT = Point((Offer("offset", 1, 1.0),))


@pytest.fixture(scope="module")
def called(tiny_image, tiny_inputs) -> np.ndarray:
    """The float network's classes."""
    return float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)


def judge(image, data, task=CLASSIFICATION, max_drop=0.0) -> Judge:
    return Judge.of(image, data, data, task, State(), max_drop, silent)


def test_the_drop_is_what_labels_say(tiny_image, tiny_inputs, called) -> None:
    labels = called.copy()
    labels[::4] = (labels[::4] + 1) % 4
    found = judge(tiny_image, Dataset.of(tiny_inputs, labels))
    assert found.in_float == 0.75
    assert not found.agreement
    y = Session(tiny_image, die=Die.ideal()).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    one = found(3, POINT, tiny_image, 7.0)
    assert (one.number, one.point) == (3, POINT)
    assert one.value == pytest.approx((y == labels).mean())
    assert one.drop == pytest.approx(0.75 - one.value)


def test_without_labels_it_is_agreement(tiny_image, tiny_inputs, called) -> None:
    found = judge(tiny_image, Dataset.of(tiny_inputs))
    y = Session(tiny_image, die=Die.ideal()).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    assert (found.agreement, found.in_float) == (True, 1.0)
    assert found(0, POINT, tiny_image, 1.0).value == pytest.approx((y == called).mean())


def test_rounding_of_a_difference_decides_nothing(tiny_image, tiny_inputs, monkeypatch) -> None:
    found = judge(tiny_image, Dataset.of(tiny_inputs), max_drop=0.1)
    for value, holds in ((0.9, True), (0.9 - 1e-12, True), (0.9 - 1e-6, False)):
        monkeypatch.setattr(Judge, "_mean", lambda self, units, value=value: value)
        assert found(0, POINT, tiny_image, 1.0).holds is holds


def test_dies_are_asked_where_perfect_cells_hold(tiny_image, tiny_inputs, monkeypatch) -> None:
    data = Dataset.of(tiny_inputs)
    for allowed, dies in ((1.0, 2), (-1.0, 0)):
        found = Judge.of(
            tiny_image, data, data, CLASSIFICATION, State((3, 4)), allowed, silent
        )(0, POINT, tiny_image, 1.0)  # fmt: skip
        assert found.dies == dies
    asked = []

    def recover(image, device, calib, options, progress):
        asked.append((options.seed, calib, options.task))
        return SimpleNamespace(image=image)

    monkeypatch.setattr(module, "recover", recover)
    state = State((5, 6), recover=True, task="classification")
    Judge.of(tiny_image, data, data, CLASSIFICATION, state, 1.0, silent)(0, POINT, tiny_image, 1.0)
    assert asked == [(5, data, "classification"), (6, data, "classification")]


def test_what_a_task_needs_must_be_there(tiny_image, tiny_inputs) -> None:
    with pytest.raises(DataError, match="has no"):
        judge(tiny_image, Dataset.of(tiny_inputs), task_named("detection"))
