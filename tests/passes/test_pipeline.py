"""The pipeline runs passes in order, times them, checks each, and stops where it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import PlanError, UsageError
from pimc.passes.array.partition import Partition
from pimc.passes.graph.frontend import load_model
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.layout.tile import Tiling
from pimc.passes.lower.lowering import Lower
from pimc.passes.pipeline import run, run_pass
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import Plan

SMALL = Chip.default().with_array(16, 8)


@dataclass(frozen=True)
class Forgetful:
    """A pass of the compiler's that leaves a tile out."""

    name: ClassVar[str] = "tile"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        whole = Tiling()(plan, chip)
        return replace(whole, tiles=whole.tiles[1:])


def test_passes_run_in_order_and_are_timed(tiny_model) -> None:
    seen: list[tuple[str, float]] = []
    plan = run(
        load_model(tiny_model()),
        SMALL,
        [Simplify(), Lower()],
        timed=lambda *told: seen.append(told),
    )
    assert plan.stage == "lower"
    assert [name for name, _ in seen] == ["simplify", "lower"]
    assert all(seconds >= 0 for _, seconds in seen)


def test_it_stops_after_the_pass_that_is_named(tiny_model) -> None:
    first = load_model(tiny_model())
    assert run(first, SMALL, [Simplify(), Lower()], stop_after="simplify").stage == "simplify"
    with pytest.raises(UsageError, match="no pass is called 'tile'") as caught:
        run(first, SMALL, [Simplify(), Lower()], stop_after="tile")
    assert caught.value.hint == "passes are simplify, lower"
    assert run(first, SMALL, []) is first


def test_a_pass_that_breaks_a_rule_is_a_mistake_of_ours(tiny_model) -> None:
    quantized = api.plan(tiny_model(), SMALL, stop_after="quantize")
    with pytest.raises(PlanError, match="after tile: it does not hold that the tiles of") as caught:
        run_pass(Forgetful(), quantized, SMALL)
    assert caught.value.where == "w1"
    assert caught.value.hint == "this is a mistake in pimc; please report it"


def test_a_pass_needs_what_comes_before_it(tiny_model) -> None:
    lowered = api.plan(tiny_model(), SMALL, stop_after="lower")
    with pytest.raises(UsageError, match="tile: needs a plan after quantize, this one is after l"):
        run_pass(Tiling(), lowered, SMALL)
    # Copies are made on request only.
    assert run_pass(Partition(), lowered, SMALL).stage == "partition"


def test_what_was_done_can_be_done_again_in_another_way(tiny_model) -> None:
    plan = api.plan(tiny_model(), SMALL)
    packed = run_pass(Pack("single"), plan, SMALL)
    assert packed.stage == "pack"
    assert packed.arrays == len(packed.tiles) > plan.arrays
    whole = api.plan(packed, SMALL)
    wanted = api.plan(tiny_model(), SMALL, options=api.Options(packing="single"))
    assert (whole.places, whole.schedule) == (wanted.places, wanted.schedule)
    assert run_pass(Scheduling(), plan, SMALL).schedule == plan.schedule
