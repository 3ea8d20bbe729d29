"""Damages predicted from gradients, against those of networks with one layer on the chip."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import pimc
from pimc import api
from pimc.api import Options
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.passes.recover.twin.goal import Goal
from pimc.plan.records import layer_of
from pimc.runtime.die.die import Die
from pimc.runtime.feeds import tensors
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from pimc.studies.drawn import FRESH
from pimc.studies.spending.prediction import damages

CHIP = Chip.default().with_array(16, 8).with_levels(6).with_sigma(0.08)
KINDS = ("offset", "differential", "sliced:2")


def measured(session: Session, data: Dataset) -> dict[str, float]:
    """The loss of the network where one layer alone is on the chip, all others in float."""
    in_float, feed = teacher_array(session.image), tensors(data.all_inputs())
    wanted = list(session.evaluate(feed, array=in_float).values())
    goal, found = Goal.of(None, wanted), {}
    for layer in session.image.layers:

        def array(node, x, name=layer.name):
            return session.array(node, x) if layer_of(node) == name else in_float(node, x)

        outputs = session.evaluate(feed, array=array)
        found[layer.name] = float(goal.loss(list(outputs.values()), wanted))
    return found


@pytest.fixture(scope="module")
def data(tiny_inputs) -> Dataset:
    return Dataset.of(tiny_inputs)


def pairs(model, data, state, of):
    """Damages predicted and measured, of every layer and mapping."""
    found = []
    for kind in KINDS:
        chip = CHIP.with_(**{"mapping.kind": kind.partition(":")[0]})
        plan = api.plan(model, chip, calib=data, stop_after="quantize")
        image = pimc.compile(plan, chip, calib=data)
        predicted = damages(plan, image, data, left=1.0)
        each = [measured(session, data) for session in state(image)]
        found += [
            (of(predicted[name]), float(np.mean([one[name] for one in each]))) for name in each[0]
        ]
    return np.asarray(found)


def test_reading_is_what_perfect_cells_do(tiny_model, data) -> None:
    found = pairs(tiny_model(), data, lambda i: [Session(i, die=Die.ideal())], lambda d: d.reading)
    assert spearmanr(*found.T).statistic > 0.9
    assert 0.7 < np.median(found[:, 0] / found[:, 1]) < 1.4


def test_with_writing_it_is_what_dies_do(tiny_model, data) -> None:
    def dies(image):
        return [FRESH.session(image, seed) for seed in range(900, 930)]

    found = pairs(tiny_model(), data, dies, lambda d: d.total)
    assert spearmanr(*found.T).statistic > 0.9
    assert 0.6 < np.median(found[:, 0] / found[:, 1]) < 1.6


def test_equal_inputs_give_equal_damages(tiny_model, data) -> None:
    plan = api.plan(tiny_model(), CHIP, calib=data, stop_after="quantize")
    image = pimc.compile(plan, CHIP, calib=data, options=Options())
    assert damages(plan, image, data) == damages(plan, image, data)


def test_what_is_left_counts(tiny_model, data) -> None:
    plan = api.plan(tiny_model(), CHIP, calib=data, stop_after="quantize")
    image = pimc.compile(plan, CHIP, calib=data)
    none, some, whole = (damages(plan, image, data, left=left) for left in (0.0, 0.25, 1.0))
    recovered = damages(plan, image, data)
    for name, damage in whole.items():
        assert none[name].writing == 0.0
        assert some[name].writing == pytest.approx(damage.writing / 4)
        assert 0 < recovered[name].writing < damage.writing
        assert damage.total == damage.reading + damage.writing
