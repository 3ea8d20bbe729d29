"""Placement only renumbers arrays, and brings those together that talk to each other."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.errors import ModelError
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.place import Placement
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from pimc.plan.records import ARRAY_OP, DOMAIN, Place, Plan
from tests.passes.layout.made_plans import BASE, layer, plan_of, shapes


def fit(cores: int, arrays_per_core: int) -> Chip:
    sizes = {"hierarchy.cores": cores, "hierarchy.arrays_per_core": arrays_per_core}
    return BASE.with_array(16, 16).with_(**sizes)


@settings(max_examples=30, deadline=None)  # annealing takes its time
@given(shapes, st.integers(1, 4))
def test_placement_is_a_permutation(shapes: list[tuple[int, int, int]], per_core: int) -> None:
    chip = fit(200, per_core)
    layers = tuple(layer(f"w{i}", *shape) for i, shape in enumerate(shapes))
    packed = Pack()(Tiling()(plan_of(layers), chip), chip)
    placed = Placement()(packed, chip)
    assert placed.arrays == packed.arrays
    number = {
        a.array: b.array for a, b in zip(packed.places, placed.places, strict=True)
    }  # one new number an old one, and the reverse:
    assert sorted(number) == sorted(number.values()) == list(range(packed.arrays))
    for before, after in zip(packed.places, placed.places, strict=True):
        assert after == replace(before, array=number[before.array])
    assert Placement()(packed, chip) == placed
    check(placed, chip)


def test_neighbours_in_the_dataflow_share_a_core() -> None:
    """Packed in another order, six chained layers still come to lie in order, two a core."""
    chip = fit(3, 2).with_(**{"hierarchy.mesh_cols": 3})
    layers = tuple(layer(f"w{i}", 1, 16, 16) for i in range(6))
    tiled = Tiling()(plan_of(layers), chip)
    scattered = tuple(Place(array, 0, 0) for array in (3, 0, 5, 2, 4, 1))
    placed = Placement()(replace(tiled, places=scattered, arrays=6), chip)
    assert [place.array // 2 for place in placed.places] == [0, 0, 1, 1, 2, 2]


def test_a_core_takes_the_array_with_most_traffic() -> None:
    """Layer 0 feeds layer 1, whose two arrays share its values, and layer 2, on one array."""
    value = ir.Value(name="x")
    first = ir.Node(DOMAIN, ARRAY_OP, [value], [ir.AttrString("layer", "w0")])
    rest = [
        ir.Node(DOMAIN, ARRAY_OP, [first.outputs[0]], [ir.AttrString("layer", name)])
        for name in ("w1", "w2")
    ]
    outputs = [node.outputs[0] for node in rest]
    opsets = {"": 17, DOMAIN: 1}
    graph = ir.Graph([value], outputs, nodes=[first, *rest], opset_imports=opsets)
    layers = (layer("w0", 1, 16, 16), layer("w1", 1, 16, 32), layer("w2", 1, 16, 16))
    plan = Plan(ir.Model(graph, ir_version=10), "m.onnx", "", layers=layers)
    chip = fit(2, 2)
    placed = Placement()(Pack()(Tiling()(plan, chip), chip), chip)
    cores: dict[int, set[int]] = {tile.layer: set() for tile in placed.tiles}
    for tile, place in zip(placed.tiles, placed.places, strict=True):
        cores[tile.layer].add(place.array // 2)
    assert cores == {0: {0}, 1: {1}, 2: {0}}


def test_too_many_arrays() -> None:
    layers = tuple(layer(f"w{i}", 1, 16, 16) for i in range(5))
    chip = fit(2, 2)
    packed = Pack()(Tiling()(plan_of(layers), chip), chip)
    with pytest.raises(ModelError, match="needs 5 arrays and the chip has 4: 1 are missing") as e:
        Placement()(packed, chip)
    assert e.value.where == "m.onnx"
    assert e.value.hint
    assert Placement()(packed, fit(5, 1)).arrays == 5


def test_nothing_to_place() -> None:
    empty = Pack()(Tiling()(plan_of(()), BASE), BASE)
    assert (empty.tiles, empty.arrays) == ((), 0)
    assert Placement()(empty, BASE).places == ()
