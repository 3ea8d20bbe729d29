"""Rounds of writing: small at first, ended where they do not pay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimc.passes.recover import DistillOptions, RecoverOptions, Recovery, recover
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from tests.passes.recover.closed_device import ClosedDevice
from tests.passes.recover.deep_net import deep_image, deep_inputs

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = RecoverOptions(
    budget=0.2,
    cost_images=0,
    capture=CaptureOptions(128, 2),
    distill=DistillOptions(epochs=2),
)


def of_round(recovery: Recovery, number: int) -> int:
    return int((recovery.writes[:, 3] == number).sum())


class Misses(ClosedDevice):
    """Once it is programmed, what it writes lands at any level."""

    def program(self, cells: np.ndarray, levels: np.ndarray) -> np.ndarray:
        self.asked = dict(zip(cells.tolist(), levels.tolist(), strict=True))
        anywhere = np.random.default_rng(len(cells)).integers(0, 16, len(cells))
        return super().program(cells, anywhere.astype(levels.dtype))

    def written(self, cells: np.ndarray) -> np.ndarray:
        held, asked = super().written(cells), getattr(self, "asked", {})
        return np.array([asked.get(c, h) for c, h in zip(cells.tolist(), held, strict=True)])


@pytest.fixture(scope="module")
def missed() -> Recovery:
    data = deep_inputs()
    image = deep_image(4, 16, 0.02, data)
    options = replace(OPTIONS, distill=DistillOptions(epochs=0))
    return recover(image, Misses(image, 3), data, options)


def test_a_round_that_does_harm_is_small_and_the_last(missed) -> None:
    allowed = int(0.2 * missed.image.used.sum())
    assert set(missed.writes[:, 3].tolist()) == {1}
    assert 0 < len(missed.writes) <= allowed // 5
    assert [stage.paid for stage in missed.stages if stage.cells_written] == [False]
    assert any("did not pay and was the last" in why for why in missed.verdict.why)


def test_the_best_for_the_cells_as_they_are_is_kept(missed) -> None:
    (kept,) = (stage for stage in missed.stages if stage.kept)
    (first,) = (n for n, stage in enumerate(missed.stages) if stage.cells_written)
    assert kept.loss == min(stage.loss for stage in missed.stages[first:])
    assert missed.verdict.gained == (kept.loss < missed.stages[0].loss)
    assert missed.verdict.loss_after == kept.loss


class MissesLater(Misses):
    """What it writes in the first round lands where it should."""

    rounds = 0

    def program(self, cells: np.ndarray, levels: np.ndarray) -> np.ndarray:
        self.rounds += 1
        missing = Misses if self.rounds > 1 else ClosedDevice
        return missing.program(self, cells, levels)


@pytest.fixture(scope="module")
def later() -> Recovery:
    """The second round raises the held-out loss."""
    data = deep_inputs()
    image = deep_image(4, 16, 0.05, data)
    return recover(image, MissesLater(image, 3), data, OPTIONS)


def test_a_round_that_loses_is_the_last_and_the_columns_stay_as_they_served(later) -> None:
    lost = [n for n, stage in enumerate(later.stages) if stage.paid is False]
    assert len(lost) == 1
    assert later.stages[lost[0]].cells_written == of_round(later, 2)
    assert set(later.writes[:, 3].tolist()) == {1, 2}
    (kept,) = (stage for stage in later.stages if stage.kept)
    assert kept.loss < later.stages[lost[0]].loss
    assert later.verdict.gained == (kept.loss < later.stages[0].loss)
    assert any("did not pay and was the last" in why for why in later.verdict.why)


def test_rounds_that_pay_grow_and_use_the_budget() -> None:
    data = deep_inputs()
    image = deep_image(4, 16, 0.08, data)
    recovery = recover(image, ClosedDevice(image, 3), data, OPTIONS)
    assert {stage.paid for stage in recovery.stages if stage.cells_written} == {True}
    assert of_round(recovery, 1) < of_round(recovery, 2) <= of_round(recovery, 3) + 1
    allowed = int(0.2 * image.used.sum())
    assert 0.9 * allowed < len(recovery.writes) <= allowed
    assert not any("did not pay" in why for why in recovery.verdict.why)


@pytest.mark.parametrize(("levels", "seed"), [(3, 101), (4, 102)])
def test_the_result_is_never_worse_than_the_die_that_was_given(levels: int, seed: int) -> None:
    data = deep_inputs()
    image = deep_image(12, levels, 0.05, data)
    device = ClosedDevice(image, seed)
    recovery = recover(image, device, data, OPTIONS)
    (kept,) = (stage for stage in recovery.stages if stage.kept)
    assert kept.loss <= recovery.stages[0].loss
    assert (recovery.verdict.loss_before, recovery.verdict.loss_after) == (
        recovery.stages[0].loss,
        kept.loss,
    )


def test_a_die_written_without_any_error_is_recovered_too() -> None:
    data = deep_inputs(96)
    image = deep_image(4, 16, 0.0, data)
    device = ClosedDevice(image, 1)
    recovery = recover(image, device, data, replace(OPTIONS, rounds=1))
    (wanted,) = float_session(image).run(None, {"x": data.all()})
    (found,) = Session(recovery.image, die=device).run(None, {"x": data.all()})
    assert float(np.square(found - wanted).mean() / wanted.var()) < 0.05
