"""The table of stages: in order, complete, checked after every pass, and told in the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.errors import PlanError, UsageError
from pimc.passes import stages
from pimc.passes.stages import STAGES, Choices, Rules, check
from pimc.plan.records import Place, Plan, Tile

CHIP = Chip.default().with_array(4, 4)
PAGE = Path(__file__).parents[2] / "docs" / "passes.md"


def packed(*places: Place) -> Plan:
    """Tiles of no layer, packed."""
    empty = ir.Model(ir.Graph([], [], nodes=[]), ir_version=10)
    tiles = (Tile(0, 0, 0, 2, 0, 3),) * len(places)
    return Plan(empty, "m.onnx", "", stage="pack", tiles=tiles, places=places, arrays=1)


def test_passes_are_named_after_their_stages() -> None:
    asked = api.Options(copies=9, packing="parallel", digital=("w3",), array_only=True)
    options = replace(asked, rotate=True, split_rows=True)

    def run(graph, on_array, *, most=None) -> None:
        """No data are run."""

    choices = Choices(options, run, FaultMap(()))
    learning = replace(
        choices,
        options=replace(options, learn_rounding=True),
        faults=None,
        learner=lambda plan, chip: (plan, ()),
    )
    made = {stage.name: stage.make(choices) or stage.make(learning) for stage in STAGES}
    assert made.pop("frontend") is None
    for name, step in made.items():
        assert step is not None
        assert step.name == name
    optional = {stage.name for stage in STAGES[1:] if stage.make(Choices()) is None}
    named = {stage.name for stage in STAGES if stage.optional}
    assert optional == named == {"replicate", "rotate", "equalize", "split", "learn", "settle"}


def test_rules_look_at_parts_that_plans_have() -> None:
    parts = {part.name for part in fields(Plan)}
    looked_at = {p for stage in STAGES for named in stage.rules.values() for p in named}
    assert looked_at <= parts
    assert looked_at >= {"graph", "layers", "quantized", "tiles", "places", "lines", "schedule"}


def test_a_stage_that_there_is_not() -> None:
    with pytest.raises(UsageError, match=r"no such stage \(did you mean tile\?\)") as caught:
        stages.number_of("tiles")
    assert caught.value.hint is not None
    assert "simplify, lower, replicate, partition" in caught.value.hint


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of two rules were asked, in place of all others."""
    asked: list[str] = []

    def first(plan: Plan, chip: Chip) -> Iterator[str]:
        """The first holds"""
        asked.append("first")
        yield from ()

    def second(plan: Plan, chip: Chip) -> Iterator[str]:
        """The second holds"""
        asked.append("second")
        yield from ()

    kept: dict[str, Rules] = {"tile": {first: ("tiles",)}, "pack": {second: ("tiles", "places")}}
    table = tuple(replace(stage, rules=kept.get(stage.name, {})) for stage in STAGES)
    monkeypatch.setattr(stages, "STAGES", table)
    return asked


def test_rules_are_asked_from_their_stage_on_and_again_where_their_part_changed(looked) -> None:
    plan = packed(Place(0, 0, 0))
    check(replace(plan, stage="quantize"), CHIP)
    assert looked == []
    tiled = replace(plan, stage="tile")
    check(tiled, CHIP)
    check(plan, CHIP, tiled)
    assert looked == ["first", "second"]
    check(replace(plan, stage="cells"), CHIP, plan)
    assert looked == ["first", "second"]
    check(replace(plan, places=(Place(0, 1, 0),)), CHIP, plan)
    assert looked == ["first", "second", "second"]


def test_a_plan_that_cannot_even_be_looked_at_breaks_the_rule() -> None:
    nothing: Any = "no tile"
    broken = replace(packed(Place(0, 0, 0)), stage="tile", tiles=(nothing,), places=())
    with pytest.raises(PlanError, match="after tile: it does not hold that the tiles of") as caught:
        check(broken, CHIP)
    assert "AttributeError" in (caught.value.where or "")
    assert isinstance(caught.value.__cause__, AttributeError)


def test_the_docs_show_the_table() -> None:
    start, end = "<!-- stages: generated -->\n", "<!-- stages: end -->"
    text = PAGE.read_text(encoding="utf-8")
    assert text.split(start)[1].split(end)[0] == stages.markdown()
