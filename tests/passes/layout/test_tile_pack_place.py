"""Tiles cover every layer, packing puts each on a spot of its own, placement only renumbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.errors import ChipError, ModelError
from pimc.files.weight import Weight
from pimc.passes.layout.dataflow import layer_graph
from pimc.passes.layout.pack import Pack, Packing
from pimc.passes.layout.place import Placement
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Place,
    Plan,
    Quantized,
    Tile,
)

BASE = Chip.default()
Sizes = list[tuple[int, int]]


def layer(name: str, groups: int, rows: int, cols: int) -> Layer:
    weight = np.zeros((groups, rows, cols), np.float32)
    bias = np.zeros(groups * cols, np.float32)
    return Layer(name, f"{name}.out", "Conv", groups, rows, cols, None, Weight(weight), bias)


def chain(count: int) -> ir.Model:
    """Layers ``w0``, ``w1``, … one after the other, a digital operator between them."""
    value = source = ir.Value(name="x")
    nodes = []
    for number in range(count):
        for domain, op, attributes in (
            (DOMAIN, ARRAY_OP, [ir.AttrString("layer", f"w{number}")]),
            ("", "Relu", []),
        ):
            node = ir.Node(domain, op, [value], attributes)
            nodes.append(node)
            value = node.outputs[0]
    graph = ir.Graph([source], [value], nodes=nodes, opset_imports={"": 17, DOMAIN: 1})
    return ir.Model(graph, ir_version=10)


def plan_of(layers: tuple[Layer, ...]) -> Plan:
    quantized = tuple(map(quantized_of, layers))
    return Plan(chain(len(layers)), "m.onnx", "", layers=layers, quantized=quantized)


def quantized_of(layer: Layer) -> Quantized:
    columns, rows = np.ones(layer.bias.shape, np.float32), np.ones(layer.weight.shape[:2])
    codes, zero = layer.weight.numpy().astype(np.uint16), np.zeros(layer.bias.shape, np.uint16)
    importance = rows.astype(np.float32)
    return Quantized(codes, zero, columns, columns, layer.bias, importance, 0.5, True, 2.0, 0.0)


def blocks(sizes: Sizes) -> Plan:
    """One layer a block, so that tiles have just these sizes."""
    layers = tuple(layer(f"w{i}", 1, rows, cols) for i, (rows, cols) in enumerate(sizes))
    tiles = tuple(Tile(i, 0, 0, rows, 0, cols) for i, (rows, cols) in enumerate(sizes))
    return replace(plan_of(layers), tiles=tiles)


shapes = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 50)), min_size=1, max_size=4
)
sizes_of = st.lists(st.tuples(st.integers(1, 32), st.integers(1, 24)), min_size=1, max_size=40)


# --- tile ------------------------------------------------------------------------------------


@settings(deadline=None)  # cell by cell
@given(shapes, st.sampled_from(["offset", "differential", "sliced"]), st.integers(8, 40))
def test_tiles_cover_every_cell_once(
    shapes: list[tuple[int, int, int]], kind: str, width: int
) -> None:
    chip = BASE.with_array(16, width).with_mapping(kind)
    planes = codebook(chip).planes
    layers = tuple(layer(f"w{i}", *shape) for i, shape in enumerate(shapes))
    plan = Tiling()(plan_of(layers), chip)
    seen: Counter[tuple[int, int, int, int]] = Counter()
    for tile in plan.tiles:
        assert tile.rows <= 16
        assert tile.cols <= width
        # The cells of one weight stay together.
        assert tile.col % planes == tile.cols % planes == 0
        seen.update(
            (tile.layer, tile.group, row, col)
            for row in range(tile.row, tile.row + tile.rows)
            for col in range(tile.col, tile.col + tile.cols)
        )
    cells = {
        (number, group, row, col)
        for number, (groups, rows, cols) in enumerate(shapes)
        for group in range(groups)
        for row in range(rows)
        for col in range(cols * planes)
    }
    assert seen == Counter(cells)
    check(plan, chip)


PAIR = {"mapping.kind": "differential"}


@given(shapes, st.sampled_from(["rows", "arrays"]), st.integers(8, 40), st.integers(2, 20))
def test_tiles_of_pairs(
    shapes: list[tuple[int, int, int]], pair: str, width: int, active: int
) -> None:
    chip = BASE.with_array(16, width).with_(**PAIR, **{"mapping.pair": pair})
    chip = chip.with_(**{"array.active_rows": active})
    plan = Tiling()(plan_of(tuple(layer(f"w{i}", *s) for i, s in enumerate(shapes))), chip)
    check(plan, chip)
    for tile in plan.tiles:
        assert tile.rows <= min(16, active)
        cols = shapes[tile.layer][2]
        if pair == "rows":
            # Both wordlines of a weight lie in one tile, so that their currents can subtract.
            assert tile.row % 2 == tile.rows % 2 == 0
        else:
            # No tile holds both cells of any weight.
            assert tile.col // cols == (tile.col + tile.cols - 1) // cols


@given(shapes, st.sampled_from(["dense", "parallel", 2, 5, "single"]))
def test_pairs_on_arrays_take_the_same_place(
    shapes: list[tuple[int, int, int]], packing: Packing
) -> None:
    chip = BASE.with_array(16, 12).with_(**PAIR, **{"mapping.pair": "arrays"})
    plan = Tiling()(plan_of(tuple(layer(f"w{i}", *s) for i, s in enumerate(shapes))), chip)
    plan = Pack(packing)(plan, chip)
    check(plan, chip)
    by_tile = dict(zip(plan.tiles, plan.places, strict=True))
    half = plan.arrays // 2
    assert plan.arrays == 2 * half
    for tile, place in by_tile.items():
        cols = shapes[tile.layer][2]
        if tile.col < cols:
            other = by_tile[replace(tile, col=tile.col + cols)]
            assert other == replace(place, array=place.array + half)


def test_arrays_too_low_for_a_pair() -> None:
    chip = BASE.with_array(1, 4).with_(**PAIR, **{"mapping.pair": "rows"})
    with pytest.raises(ChipError, match="takes 2 cells of a column, a read drives 1 row") as caught:
        Tiling()(plan_of((layer("w0", 1, 2, 2),)), chip)
    assert caught.value.where == "array.rows"
    one = chip.with_array(8, 4).with_(**{"array.active_rows": 1})
    with pytest.raises(ChipError) as caught:
        Tiling()(plan_of((layer("w0", 1, 2, 2),)), one)
    assert caught.value.where == "array.active_rows"


def test_tiling_leaves_its_input_alone() -> None:
    before = plan_of((layer("w0", 1, 5, 5),))
    Tiling()(before, BASE)
    assert before.tiles == ()


def test_arrays_too_narrow_for_a_weight() -> None:
    with pytest.raises(ChipError, match="takes 2 cells of a row, an array has 1") as caught:
        Tiling()(plan_of((layer("w0", 1, 2, 2),)), BASE.with_array(4, 1).with_mapping("sliced"))
    assert caught.value.where == "array.cols"
    assert caught.value.hint


# --- pack ------------------------------------------------------------------------------------


@given(sizes_of, st.sampled_from(["dense", "parallel", 2, 5, "single"]))
def test_packing(sizes: Sizes, packing: Packing) -> None:
    chip = BASE.with_array(32, 24)
    plan = Pack(packing)(blocks(sizes), chip)
    taken = np.zeros((plan.arrays, 32, 24), np.int64)
    for (rows, cols), place in zip(sizes, plan.places, strict=True):
        assert 0 <= place.row <= 32 - rows
        assert 0 <= place.col <= 24 - cols
        taken[place.array, place.row : place.row + rows, place.col : place.col + cols] += 1
    assert taken.max() == 1
    assert taken.sum() == sum(rows * cols for rows, cols in sizes)
    # Every array up to the count is used, and there are enough of them.
    assert taken.any(axis=(1, 2)).all()
    assert plan.arrays >= -(-sum(rows * cols for rows, cols in sizes) // (32 * 24))
    if packing == "single":
        assert [place.array for place in plan.places] == list(range(len(sizes)))
    else:
        assert plan.arrays <= len(sizes)
    check(plan, chip)


@pytest.mark.parametrize(
    ("sizes", "arrays"),
    [
        ([], 0),
        ([(32, 24)] * 3, 3),
        ([(16, 24)] * 4, 2),  # one above the other
        ([(32, 12)] * 4, 2),  # side by side
        ([(16, 12)] * 8, 2),
        ([(1, 1)] * (32 * 24), 1),
        ([(17, 13)] * 3, 3),  # no two fit
        ([(10, 24), (22, 8), (22, 16)], 1),
    ],
)
def test_dense_packing_reaches_the_bound_where_it_is_easy(sizes: Sizes, arrays: int) -> None:
    assert Pack()(blocks(sizes), BASE.with_array(32, 24)).arrays == arrays


def test_dense_is_never_worse_than_single() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = [tuple(pair) for pair in rng.integers(1, [33, 25], (30, 2)).tolist()]
        dense = Pack()(blocks(sizes), BASE.with_array(32, 24)).arrays
        area = -(-sum(rows * cols for rows, cols in sizes) // (32 * 24))
        assert dense < 30
        assert dense <= 1.6 * area


# --- place -----------------------------------------------------------------------------------


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


def test_traffic_counts_columns_through_digital_operators() -> None:
    layers = (layer("w0", 2, 4, 5), layer("w1", 1, 10, 3), layer("w2", 1, 3, 3))
    edges = dict(layer_graph(plan_of(layers)).edges)
    wanted = {("w0", "w1"): 10, ("w1", "w2"): 3}
    assert {pair: data["values"] for pair, data in edges.items()} == wanted


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
