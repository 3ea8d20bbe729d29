"""The verdict: whether anything was gained, why not, and what would help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pimc.chip.fault_map import Fault
from pimc.image.image import Image
from pimc.passes.recover.bench.verdict import verdict_of
from pimc.passes.recover.know.findings import Findings
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Basis, Floor, Stage, Verdict

GOOD = Floor(0.05, 0.97)
MANY = Basis(2000, 200)


def stage(name: str, loss: float, agreement: float | None = 0.5, **more: Any) -> Stage:
    return replace(Stage(name, loss, agreement, 0, 1.0, {}), **more)


def findings(*faults: Fault) -> Findings:
    return Findings(faults, 0, {}, 1.0, 1.0, 1.0, {})


@pytest.fixture
def judged(tiny_image: Image) -> Any:
    def of(*stages: Stage, **given: Any) -> Verdict:
        case: dict[str, Any] = {
            "options": RecoverOptions(), "floor": GOOD, "basis": MANY, "findings": None,
            "written": 0,
        } | given  # fmt: skip
        return verdict_of(tiny_image, stages=stages, **case)

    return of


BEGIN = stage("as programmed", 1.0)


def test_a_die_that_is_better_and_near_perfect_cells_needs_no_word(judged) -> None:
    found = judged(BEGIN, stage("column gain and offset", 0.1, 0.95, kept=True))
    assert found == Verdict(True, 1.0, 0.1)


def test_doing_nothing_is_no_failure(judged) -> None:
    assert judged(replace(BEGIN, kept=True)) == Verdict(False, 1.0, 1.0)


def test_writing_that_did_not_pay_is_told(judged) -> None:
    fit = stage("column gain and offset", 0.8)
    lost = stage("rewriting, round 1", 0.9, cells_written=7, paid=False)
    best = stage("distilling, epoch 1", 1.1)
    found = judged(replace(BEGIN, kept=True), fit, lost, best)
    assert not found.gained
    assert found.why == (
        "rewriting, round 1, did not pay and was the last: held-out loss 0.8000 before,"
        " 0.9000 after",
    )
    # A better state all the same: writing ended, and that is all there is to tell.
    found = judged(BEGIN, fit, lost, stage("distilling, epoch 1", 0.05, 0.97, kept=True))
    assert found.gained
    assert len(found.why) == 1
    assert found.hints == ()


def test_stuck_cells_call_for_digital_weights(judged, tiny_image) -> None:
    count = int(0.11 * tiny_image.used.sum())
    stuck = findings(*[Fault(0, 0, 0, "stuck_gmin")] * count)
    found = judged(BEGIN, stage("distilling, epoch 1", 0.9, kept=True), findings=stuck)
    assert any("of the cells are stuck" in why for why in found.why)
    assert found.hints == ("--residual 12",)
    few = findings(Fault(0, 0, 0, "stuck_gmin"))
    assert judged(BEGIN, stage("distilling, epoch 1", 0.9, kept=True), findings=few).hints == ()


def test_too_few_levels_call_for_another_image(judged) -> None:
    found = judged(replace(BEGIN, kept=True), stage("fit", 2.0), floor=Floor(0.9, 0.6))
    assert any("perfect cells themselves" in why for why in found.why)
    assert "--levels" in found.hints[0]
    values = judged(
        stage("as programmed", 0.5, None, kept=True), stage("a", 0.6, None), floor=Floor(0.3, None)
    )
    assert "--levels" in values.hints[0]


def test_few_samples_call_for_more(judged) -> None:
    found = judged(replace(BEGIN, kept=True), stage("fit", 2.0), basis=Basis(64, 32))
    assert any("32 held-out samples" in why for why in found.why)
    assert any("more calibration data" in hint for hint in found.hints)


def test_a_die_as_good_as_perfect_cells_has_nothing_to_gain(judged) -> None:
    found = judged(stage("as programmed", 0.05, 0.97, kept=True), stage("fit", 0.06, 0.96))
    assert any("as good as perfect cells" in why for why in found.why)
    assert found.hints == ()


def test_writes_that_pay_to_the_end_call_for_a_larger_budget(judged, tiny_image) -> None:
    options = RecoverOptions(budget=0.1)
    written = int(0.1 * tiny_image.used.sum())
    done = stage("rewriting, round 1", 0.6, cells_written=written, paid=True, kept=True)
    assert judged(BEGIN, done, options=options, written=written).hints == ("a larger --budget",)
    assert judged(BEGIN, done, options=options, written=written // 2).hints == ()


def test_a_strategy_that_wrote_unseen_and_lost(judged) -> None:
    lost = stage("every cell written again", 1.5, cells_written=100, kept=True)
    found = judged(BEGIN, lost)
    assert (found.gained, found.loss_after) == (False, 1.5)
    assert any("selective" in hint for hint in found.hints)


def test_a_die_that_serves_as_was_asked_needs_nothing(judged) -> None:
    found = judged(replace(BEGIN, kept=True), stage("fit", 2.0), options=RecoverOptions(enough=1.1))
    assert any("as well as was asked" in why for why in found.why)
