"""Passes of one's own run where they are wanted, are held to all rules, and are noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import ModelError, PlanError, UsageError
from pimc.passes.layout.pack import Pack
from pimc.passes.own import OwnPasses, passes_for
from pimc.passes.pipeline import run_pass
from pimc.passes.stages import STAGES, Choices
from pimc.plan.records import Place, Plan
from pimc.runtime.session import Session

Change = Callable[[Plan, Chip], Any]

NAMES = [stage.name for stage in STAGES if not stage.optional]


@dataclass(frozen=True)
class Mine:
    """Does what it is told."""

    change: Change = field(default=lambda plan, chip: plan, repr=False)
    name: str = "mine"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        return self.change(plan, chip)


@dataclass(frozen=True)
class Louder:
    """Scales the bias of every layer, once quantized."""

    name: ClassVar[str] = "louder"
    factor: float = 2.0

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        louder = tuple(
            replace(entry, bias=entry.bias * np.float32(self.factor)) for entry in plan.quantized
        )
        return replace(plan, quantized=louder, stage=self.name)


@pytest.mark.parametrize("stage", NAMES)
def test_a_pass_that_changes_nothing_changes_no_other_byte(
    stage: str, tiny_model, tiny_inputs, tiny_chip, tiny_image
) -> None:
    seen: list[str] = []

    def look(plan: Plan, chip: Chip) -> Plan:
        seen.append(plan.stage)
        assert chip == tiny_chip
        return plan

    image = api.compile(tiny_model(), tiny_chip, calib=tiny_inputs, passes={stage: [Mine(look)]})
    assert seen == [stage]
    options = image.manifest["options"]
    assert options["passes"] == [{"name": "mine", "after": stage, "options": {
        "change": "function", "name": "mine"}}]  # fmt: skip
    del options["passes"]
    assert image.updated(options=options).to_bytes() == tiny_image.to_bytes()


def test_without_one_nothing_is_noted(tiny_model, tiny_inputs, tiny_chip, tiny_image) -> None:
    assert "passes" not in tiny_image.manifest["options"]
    image = api.compile(tiny_model(), tiny_chip, calib=tiny_inputs, passes={"tile": []})
    assert image.to_bytes() == tiny_image.to_bytes()


def test_what_it_does_reaches_the_image(tiny_model, tiny_inputs, tiny_chip, tiny_image) -> None:
    passes: OwnPasses = {"quantize": [Louder(), Mine()], "schedule": [Mine(name="last")]}
    image = api.compile(tiny_model(), tiny_chip, calib=tiny_inputs, passes=passes)
    for loud, plain in zip(image.layers, tiny_image.layers, strict=True):
        np.testing.assert_array_equal(loud.bias, 2 * plain.bias)
    assert [(note["name"], note["after"]) for note in image.manifest["options"]["passes"]] == [
        ("louder", "quantize"), ("mine", "quantize"), ("last", "schedule"),
    ]  # fmt: skip
    assert image.manifest["options"]["passes"][0]["options"] == {"factor": 2.0}
    assert Session(image).run(None, {"x": tiny_inputs[:2]})[0].shape == (2, 4)


def test_options_are_noted_as_what_they_are(tiny_model) -> None:
    @dataclass(frozen=True)
    class Many:
        name: ClassVar[str] = "many"
        whole: int = 3
        parts: tuple[float, ...] = (0.5, float("inf"))
        table: Any = field(default_factory=lambda: {"a": np.float32(0.25), "b": {"y", "x"}})
        array: Any = field(default_factory=lambda: np.arange(3))
        other: Any = field(default_factory=object)

        def __call__(self, plan: Plan, chip: Chip) -> Plan:
            return plan

    first, second = (
        api.compile(tiny_model(), passes={"lower": [Many()]}).manifest["options"] for _ in "ab"
    )
    assert first == second
    (note,) = first["passes"]
    digest = note["options"].pop("array")
    assert len(digest) == 64
    assert note["options"] == {
        "whole": 3,
        "parts": [0.5, "inf"],
        "table": {"a": 0.25, "b": ["x", "y"]},
        "other": "object",
    }


def moved(plan: Plan, chip: Chip) -> Plan:
    return replace(plan, places=(Place(99, 0, 0), *plan.places[1:]))


def halved(plan: Plan, chip: Chip) -> Plan:
    return replace(plan, quantized=plan.quantized[:1])


def double(plan: Plan, chip: Chip) -> Plan:
    first = replace(plan.quantized[0], scale=plan.quantized[0].scale.astype(np.float64))
    return replace(plan, quantized=(first, *plan.quantized[1:]))


def cut(plan: Plan, chip: Chip) -> Plan:
    plan.graph.graph[0].replace_input_with(0, None)
    plan.graph.graph[1].replace_input_with(0, __import__("onnx_ir").Value(name="gone"))
    return plan


def overwritten(plan: Plan, chip: Chip) -> Plan:
    """In place, which no pass should."""
    plan.quantized[0].scale[:] = -1
    return plan


@pytest.mark.parametrize(
    ("stage", "change", "rule"),
    [
        ("pack", moved, "every tile lies inside its array"),
        ("schedule", moved, "every tile lies inside its array"),
        ("quantize", halved, "every layer is quantized once"),
        ("tile", halved, "every layer is quantized once"),
        ("quantize", double, "in vectors of one entry a column"),
        ("lower", cut, "every value that the graph reads or gives is defined"),
        ("cells", overwritten, "scales and converter ranges are positive"),
        ("frontend", lambda plan, chip: replace(plan, graph=None), "every value that the graph"),
    ],
)
def test_a_pass_that_breaks_the_plan_is_refused_by_name(
    stage: str, change: Change, rule: str, tiny_model
) -> None:
    with pytest.raises(PlanError, match=f"after mine: it does not hold that .*{rule}") as caught:
        api.compile(tiny_model(), passes={stage: [Mine(change)]})
    assert caught.value.where
    assert caught.value.hint == "mend the pass mine"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda plan, chip: None, "mine: the pass returned NoneType, not a Plan"),
        (lambda plan, chip: plan.layers, "mine: the pass returned tuple, not a Plan"),
        (lambda plan, chip: plan.provenance["weights"], "mine: the pass failed: 'weights'"),
        (lambda plan, chip: next(iter(())), "mine: the pass failed: StopIteration"),
    ],
)
def test_a_pass_that_fails_says_so(result: Change, message: str, tiny_model) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        api.compile(tiny_model(), passes={"tile": [Mine(result)]})
    assert caught.value.hint


def test_what_a_pass_tells_a_user_stays_as_it_is(tiny_model) -> None:
    def refuse(plan: Plan, chip: Chip) -> Plan:
        raise ModelError("has no such layer", where="w9")

    with pytest.raises(ModelError, match="w9: has no such layer"):
        api.compile(tiny_model(), passes={"tile": [Mine(refuse)]})


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ({"tiles": [Mine()]}, r"tiles: no such stage \(did you mean tile\?\)"),
        ({"tile": [Mine(), Mine()]}, "mine: another pass has this name"),
        ({"tile": [Mine()], "pack": [Mine()]}, "mine: another pass has this name"),
        ({"tile": [Mine(name="pack")]}, "pack: another pass has this name"),
        ({"tile": [Mine(name="../mine")]}, "'../mine': not a pass's name"),
        ({"tile": [Mine(name="")]}, "'': not a pass's name"),
        ({"tile": Mine()}, r'tile: not a sequence of passes \(give {"tile": \[the_pass\]}\)'),
        ({"tile": [Mine]}, r"Mine: is a class, not a pass \(give Mine\(\)\)"),
        ({"tile": [len]}, "a builtin_function_or_method is no pass"),
        ({"tile": ["mine"]}, "a str is no pass"),
    ],
)
def test_what_cannot_be_a_pass_is_refused_before_anything_runs(
    passes: Any, message: str, tiny_model
) -> None:
    ran: list[str] = []
    with pytest.raises(UsageError, match=message):
        api.compile(tiny_model(), passes=passes, timed=lambda name, _: ran.append(name))
    assert ran == []


def test_it_is_timed_dumped_and_can_be_stopped_after(tiny_model, tmp_path) -> None:
    ran: list[str] = []
    plan = api.plan(
        tiny_model(),
        passes={"partition": [Mine()]},
        dump_dir=tmp_path,
        stop_after="mine",
        timed=lambda name, _: ran.append(name),
    )
    assert ran == [*NAMES[1 : NAMES.index("partition") + 1], "mine"]
    folders = [folder.name for folder in sorted(tmp_path.iterdir())]
    assert folders == [f"{number:02d}-{name}" for number, name in enumerate(ran)]
    assert plan.stage == "partition"


def test_a_plan_goes_on_from_where_it_is(tiny_model, tiny_chip, tiny_inputs, tiny_image) -> None:
    start = api.plan(tiny_model(), tiny_chip, calib=tiny_inputs, stop_after="quantize")
    image = api.compile(start, tiny_chip, calib=tiny_inputs)
    assert image.to_bytes() == tiny_image.to_bytes()
    done = api.plan(start, tiny_chip, passes={"quantize": [Louder()]})
    assert [note["name"] for note in done.own_passes] == ["louder"]


def test_a_pass_runs_once_though_the_plan_is_taken_up_again(tiny_model) -> None:
    passes: OwnPasses = {"tile": [Mine()], "place": [Louder()]}
    start = api.plan(tiny_model(), passes=passes, stop_after="mine")
    names = [step.name for step in passes_for(start, Choices(), passes)]
    assert [name for name in names if name not in NAMES] == ["louder"]
    assert names[names.index("louder") - 1] == "place"
    assert [name for name in names if name in NAMES] == NAMES[NAMES.index("tile") + 1 :]
    end = api.plan(start, passes=passes)
    assert [(note["name"], note["after"]) for note in end.own_passes] == [
        ("mine", "tile"), ("louder", "place"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="late: cannot run after pack: the plan is past it"):
        api.plan(end, passes={"pack": [Mine(name="late")]})


def test_what_is_done_again_forgets_the_passes_behind_it(tiny_model, tiny_chip) -> None:
    passes: OwnPasses = {"tile": [Mine()], "place": [Louder()]}
    end = api.plan(tiny_model(), tiny_chip, passes=passes)
    again = run_pass(Pack(), end, tiny_chip)
    assert [note["name"] for note in again.own_passes] == ["mine"]
