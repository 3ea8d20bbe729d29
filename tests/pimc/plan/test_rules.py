"""Rules: a sound plan passes after every stage, a broken one is refused with its place named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from pimc.chip.design import Chip
from pimc.errors import PlanError
from pimc.files.weight import Weight
from pimc.passes.stages import STAGES, check
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Lines,
    Place,
    Plan,
    Quantized,
    ReadStep,
    Tile,
)

CHIP = Chip.default().with_array(4, 4)
NAMES = tuple(stage.name for stage in STAGES)


def layer(name: str) -> Layer:
    weight = Weight(np.ones((1, 5, 3), np.float32))
    return Layer(name, f"{name}.out", "Gemm", 1, 5, 3, None, weight, np.zeros(3, np.float32))


def quantized() -> Quantized:
    columns = np.ones(3, np.float32)
    codes, zero = np.full((1, 5, 3), 15, np.uint16), np.full(3, 8, np.uint16)
    rows = np.ones((1, 5), np.float32)
    return Quantized(codes, zero, columns, columns, 0 * columns, rows, 0.5, True, 2.0, 0.0)


def graph(names: list[str]) -> ir.Model:
    values = [ir.Value(name=f"v{i}") for i in range(len(names) + 1)]
    nodes = [
        ir.Node(DOMAIN, ARRAY_OP, [values[i]], [ir.AttrString("layer", name)],
                outputs=[values[i + 1]])
        for i, name in enumerate(names)
    ]  # fmt: skip
    opsets = {"": 17, DOMAIN: 1}
    return ir.Model(
        ir.Graph([values[0]], [values[-1]], nodes=nodes, opset_imports=opsets), ir_version=10
    )


def reading(name: str) -> ir.Model:
    """The graph of both layers, the second of which reads a value of this name."""
    whole = graph(["a", "b"])
    second = list(whole.graph)[1]
    known = {"v2": second.outputs[0]}
    second.replace_input_with(0, known.get(name, ir.Value(name=name)))
    return whole


def plan(**changes: Any) -> Plan:
    """Two layers of 5×3 on arrays of 4×4: a tile of four rows and one of one row each."""
    tiles = tuple(
        Tile(number, 0, row, rows, 0, 3) for number in (0, 1) for row, rows in ((0, 4), (4, 1))
    )
    whole = Plan(
        graph=graph(["a", "b"]),
        model_name="m.onnx",
        model_sha256="",
        layers=(layer("a"), layer("b")),
        quantized=(quantized(), quantized()),
        tiles=tiles,
        places=(Place(0, 0, 0), Place(2, 0, 0), Place(1, 0, 0), Place(2, 1, 0)),
        arrays=3,
        lines=(None,) * 4,
        schedule=(ReadStep(0, (0, 1)), ReadStep(1, (2, 3))),
    )
    return replace(whole, **changes)


def with_quantized(**changes: Any) -> Plan:
    return plan(quantized=(quantized(), replace(quantized(), **changes)))


def with_tile(number: int, tile: Tile) -> Plan:
    tiles = list(plan().tiles)
    tiles[number] = tile
    return plan(tiles=tuple(tiles))


def with_place(place: Place) -> Plan:
    return plan(places=(*plan().places[:3], place))


def with_lines(wordlines: list[int], bitlines: list[int]) -> Plan:
    lines = Lines(np.array(wordlines, np.int32), np.array(bitlines, np.int32))
    return plan(lines=(None, None, None, lines))


def with_weight(weight: np.ndarray[Any, Any]) -> Plan:
    return plan(layers=(layer("a"), replace(layer("b"), weight=Weight(weight))))


def with_bias(bias: np.ndarray[Any, Any]) -> Plan:
    return plan(layers=(layer("a"), replace(layer("b"), bias=bias)))


@pytest.mark.parametrize("stage", NAMES)
def test_a_sound_plan_passes(stage: str) -> None:
    check(plan(stage=stage), CHIP)


def test_moved_lines_pass() -> None:
    check(replace(with_lines([3], [2, 0, 1]), stage="cells"), CHIP)


Broken = Callable[[], Plan]
FULL = np.full((1, 5, 3), 15, np.uint16)
BROKEN: list[tuple[str, str, Broken]] = [
    ("partition", "a", lambda: plan(layers=(layer("a"), layer("a")), graph=graph(["a", "a"]))),
    ("partition", "m.onnx", lambda: plan(graph=graph(["b", "a"]))),
    ("partition", "m.onnx", lambda: plan(graph=graph(["a"]))),
    ("partition", "b", lambda: with_weight(np.ones((1, 3, 5), np.float32))),
    (
        "partition",
        "b",
        lambda: plan(layers=(layer("a"), replace(layer("b"), bias=np.ones(2, np.float32)))),
    ),
    ("frontend", "v9", lambda: plan(graph=reading("v9"))),
    ("simplify", "v2", lambda: plan(graph=reading("v2"))),  # itself
    ("quantize", "m.onnx", lambda: plan(quantized=(quantized(),))),
    ("quantize", "b", lambda: with_quantized(codes=FULL[:, :4])),
    ("quantize", "b", lambda: with_quantized(zero=np.full(3, 8))),
    ("quantize", "b", lambda: with_quantized(scale=np.ones(2, np.float32))),
    ("quantize", "b", lambda: with_quantized(gain=np.ones(3))),  # float64
    ("quantize", "b", lambda: with_quantized(importance=np.ones((1, 4), np.float32))),
    ("quantize", "b", lambda: with_quantized(codes=FULL + np.uint16(1))),
    ("quantize", "b", lambda: with_quantized(zero=np.full(3, 16, np.uint16))),
    ("quantize", "b", lambda: with_quantized(scale=np.array([1, 0, 1], np.float32))),
    ("quantize", "b", lambda: with_quantized(scale=np.array([1, np.inf, 1], np.float32))),
    ("quantize", "b", lambda: with_quantized(adc_lsb_us=float("nan"))),
    ("quantize", "b", lambda: with_quantized(input_scale=0.0)),
    ("quantize", "b", lambda: with_quantized(input_scale=-1.0)),
    ("tile", "b", lambda: plan(tiles=plan().tiles[:3])),
    ("tile", "b", lambda: with_tile(3, Tile(1, 0, 3, 1, 0, 3))),  # row 3 twice, row 4 never
    ("tile", "b", lambda: with_tile(3, Tile(1, 0, 5, 1, 0, 3))),  # outside
    ("tile", "tile 2", lambda: plan(tiles=(*plan().tiles[:2], Tile(1, 0, 0, 5, 0, 3)))),
    ("pack", "tile 3", lambda: with_place(Place(2, 0, 1))),
    ("pack", "tile 3", lambda: with_place(Place(1, 3, 2))),
    ("place", "tile 3", lambda: with_place(Place(2, 1, 2))),
    ("pack", "tile 3", lambda: with_place(Place(3, 0, 0))),
    ("pack", "tile 3", lambda: with_place(Place(-1, 1, 0))),
    ("pack", "tile 3", lambda: with_place(Place(2, -1, 0))),
    ("pack", "tile 3", lambda: with_place(Place(2, 1, -3))),
    ("pack", "m.onnx", lambda: plan(places=plan().places[:3])),
    ("pack", "m.onnx", lambda: plan(phases=(1, 2))),
    ("pack", "m.onnx", lambda: plan(phases=(0, 2, 2))),
    ("pack", "m.onnx", lambda: plan(phases=(0, 3))),
    ("place", "array 0", lambda: plan(arrays=CHIP.hierarchy.arrays + 1)),
    ("cells", "m.onnx", lambda: plan(lines=(None,) * 3)),
    ("tile", "b", lambda: with_tile(3, Tile(1, 1, 4, 1, 0, 3))),
    ("tile", "b", lambda: with_tile(3, Tile(1, 0, -1, 1, 0, 3))),
    ("tile", "m.onnx", lambda: plan(tiles=(*plan().tiles, Tile(2, 0, 0, 1, 0, 1)))),
    ("cells", "tile 3", lambda: with_lines([0], [0, 1, 2])),
    ("cells", "tile 3", lambda: with_lines([1], [0, 1, 1])),
    ("cells", "tile 3", lambda: with_lines([4], [0, 1, 2])),
    ("cells", "tile 3", lambda: with_lines([-1], [0, 1, 2])),
    ("cells", "tile 3", lambda: with_lines([1], [0, 1, -1])),
    ("cells", "tile 3", lambda: with_lines([1, 2], [0, 1, 2])),
    ("schedule", "m.onnx", lambda: plan(schedule=(ReadStep(0, (0, 1)), ReadStep(1, (2, 4))))),
    ("schedule", "m.onnx", lambda: plan(schedule=(ReadStep(0, (0, 1)), ReadStep(1, (2,))))),
    ("schedule", "m.onnx", lambda: plan(schedule=(ReadStep(0, (0, 1)), ReadStep(1, (2, 3, 3))))),
    ("schedule", "step 0", lambda: plan(schedule=(ReadStep(0, (0, 1, 2)), ReadStep(1, (3,))))),
]


@pytest.mark.parametrize(("stage", "place", "broken"), BROKEN)
def test_a_broken_plan_is_refused(stage: str, place: str, broken: Broken) -> None:
    with pytest.raises(PlanError, match=f"after {stage}: it does not hold that") as caught:
        check(replace(broken(), stage=stage), CHIP)
    assert place in (caught.value.where or "").split(", ")
    assert caught.value.hint


@pytest.mark.parametrize(("stage", "place", "broken"), BROKEN)
def test_what_an_earlier_stage_established_still_holds(
    stage: str, place: str, broken: Broken
) -> None:
    try:
        check(replace(broken(), stage=NAMES[-1]), CHIP)
    except PlanError as error:
        assert place in (error.where or "").split(", ")  # noqa: PT017
    else:
        pytest.fail("the broken plan passed")


def test_dynamic_ranges_need_no_input_scale() -> None:
    check(replace(with_quantized(input_scale=None), stage="quantize"), CHIP)


def test_what_has_not_changed_is_not_looked_at_again() -> None:
    broken = with_place(Place(2, 0, 1))  # overlaps
    before = replace(broken, stage="pack")
    after = replace(broken, stage="place")
    check(after, CHIP, before)
    with pytest.raises(PlanError, match="no cell belongs to two tiles"):
        check(replace(after, places=(*broken.places,)), CHIP, before)
    with pytest.raises(PlanError, match="no cell belongs to two tiles"):
        check(after, CHIP, replace(broken, stage="tile"))


def test_every_rule_says_what_must_hold() -> None:
    for stage in STAGES:
        for rule in stage.rules:
            assert rule.__doc__
            assert rule.__doc__[0].islower()
