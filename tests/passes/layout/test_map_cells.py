"""Cells avoid known faults: weighted error never grows, lines stay valid, dead rows are left."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.chip.fault_map import KINDS, Fault, FaultMap
from pimc.errors import DataError
from pimc.files.weights.weight import Weight
from pimc.passes.layout.map_cells import MapCells, tile_levels
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from pimc.plan.held import squared_error
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Lines,
    Plan,
    Quantized,
)

BASE = Chip.default().with_array(16, 16)


def plan_of(chip: Chip, shapes: list[tuple[int, int, int]], seed: int = 0) -> Plan:
    """A packed plan of random codes and scales."""
    rng = np.random.default_rng(seed)
    codes = len(codebook(chip).values_us)
    layers, quantized = [], []
    for number, shape in enumerate(shapes):
        columns = shape[0] * shape[2]
        bias = np.zeros(columns, np.float32)
        name = f"w{number}"
        weight = np.zeros(shape, np.float32)
        layers.append(Layer(name, f"{name}.out", "Gemm", *shape, None, Weight(weight), bias))
        quantized.append(
            Quantized(
                rng.integers(0, codes, shape).astype(np.uint16),
                np.full(columns, codebook(chip).middle, np.uint16),
                rng.uniform(0.5, 2.0, columns).astype(np.float32),
                np.ones(columns, np.float32),
                bias,
                np.ones(shape[:2], np.float32),
                0.5,
                True,
                2.0,
                0.0,
            )
        )
    graph = _graph([layer.name for layer in layers])
    plan = Plan(graph, "m.onnx", "", layers=tuple(layers), quantized=tuple(quantized))
    return Pack()(Tiling()(plan, chip), chip)


def _graph(names: list[str]) -> ir.Model:
    nodes = [ir.Node(DOMAIN, ARRAY_OP, [], [ir.AttrString("layer", name)]) for name in names]
    return ir.Model(ir.Graph([], [], nodes=nodes), ir_version=10)


def random_faults(plan: Plan, chip: Chip, rate: float, seed: int) -> FaultMap:
    rng = np.random.default_rng(seed)
    shape = (plan.arrays, chip.array.rows, chip.array.cols)
    where = np.argwhere(rng.random(shape) < rate).tolist()
    return FaultMap(tuple(Fault(a, r, c, str(rng.choice(KINDS))) for a, r, c in where))


def harm(plan: Plan, chip: Chip, faults: FaultMap) -> float:
    """Σ (weight error that a fault causes)², cell by cell."""
    held = faults.held_us(chip, plan.arrays)
    book = codebook(chip)
    total = 0.0
    for tile, place, lines in zip(plan.tiles, plan.places, plan.lines, strict=True):
        levels = tile_levels(plan, codebook(chip), tile)
        scale = plan.quantized[tile.layer].scale
        for row in range(tile.rows):
            for col in range(tile.cols):
                wordline = place.row + row if lines is None else lines.wordlines[row]
                bitline = place.col + col if lines is None else lines.bitlines[col]
                stuck = held[place.array, wordline, bitline]
                if not np.isnan(stuck):
                    cols = plan.layers[tile.layer].cols
                    output, plane = {
                        "columns": divmod(tile.col + col, book.planes),
                        "rows": (tile.col + col, row % 2),
                        "arrays": divmod(tile.col + col, cols)[::-1],
                    }[book.layout]
                    column = tile.group * cols + output
                    wanted = chip.cell.g_levels_us[levels[row, col]]
                    error = scale[column] * book.coefficients[plane] * (wanted - stuck)
                    total += float(error) ** 2
    return total


def mapped(plan: Plan, chip: Chip, faults: FaultMap | None) -> Plan:
    result = MapCells(faults)(plan, chip)
    check(result, chip)
    return result


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 7)), min_size=1, max_size=3
    ),
    st.sampled_from(["offset", "differential", "rows", "arrays", "sliced"]),
    st.floats(0.0, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_faults_harm_no_more_than_before(
    shapes: list[tuple[int, int, int]], kind: str, rate: float, seed: int
) -> None:
    pair = kind if kind in ("rows", "arrays") else "columns"
    chip = BASE.with_mapping(kind if pair == "columns" else "differential")
    chip = chip.with_(**{"mapping.pair": pair})
    plan = plan_of(chip, shapes, seed)
    faults = random_faults(plan, chip, rate, seed)
    before = harm(mapped(plan, chip, None), chip, faults)
    after = harm(mapped(plan, chip, faults), chip, faults)
    assert after <= before * (1 + 1e-9)


def left(plan: Plan, chip: Chip, faults: FaultMap, *, made_up: bool) -> float:
    """Σ (what a fault leaves of a weight's error)², cell by cell."""
    held, levels_us = faults.held_us(chip, plan.arrays), np.asarray(chip.cell.g_levels_us)
    book, total = codebook(chip), 0.0
    for tile, place, lines in zip(plan.tiles, plan.places, plan.lines, strict=True):
        cols = plan.layers[tile.layer].cols
        wordlines = place.row + np.arange(tile.rows) if lines is None else lines.wordlines
        bitlines = place.col + np.arange(tile.cols) if lines is None else lines.bitlines
        for row, wordline in enumerate(wordlines):
            for col, bitline in enumerate(bitlines):
                stuck = held[place.array, wordline, bitline]
                if not np.isnan(stuck):
                    k, output, plane = {
                        "columns": (tile.row + row, *divmod(tile.col + col, book.planes)),
                        "rows": ((tile.row + row) // 2, tile.col + col, row % 2),
                        "arrays": (tile.row + row, *divmod(tile.col + col, cols)[::-1]),
                    }[book.layout]
                    quantized = plan.quantized[tile.layer]
                    code = quantized.codes[:, :, :][tile.group, k, output]
                    squared = squared_error(book, levels_us, plane, stuck, made_up=made_up)
                    total += float(quantized.scale[tile.group * cols + output] ** 2 * squared[code])
    return total


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 7)), min_size=1, max_size=3
    ),
    st.sampled_from(["offset", "differential", "rows", "arrays", "sliced"]),
    st.sampled_from([2, 4, 16]),
    st.booleans(),
    st.floats(0.0, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_signs_and_free_bitlines_never_cost_more_and_change_no_weight(
    shapes: list[tuple[int, int, int]],
    kind: str,
    levels: int,
    settled: bool,
    rate: float,
    seed: int,
) -> None:
    pair = kind if kind in ("rows", "arrays") else "columns"
    chip = BASE.with_levels(levels).with_mapping(kind if pair == "columns" else "differential")
    chip = chip.with_(**{"mapping.pair": pair})
    plan = plan_of(chip, shapes, seed)
    faults = random_faults(plan, chip, rate, seed)
    found = [
        MapCells(faults, settled, signs=signs, wider=wider)(plan, chip)
        for signs, wider in itertools.product((False, True), repeat=2)
    ]
    order, *others = [left(each, chip, faults, made_up=settled) for each in found]
    assert all(other <= order * (1 + 1e-9) + 1e-12 for other in others)
    book = codebook(chip)
    for each in found:
        check(each, chip)
        for before, after in zip(plan.quantized, each.quantized, strict=True):
            np.testing.assert_allclose(
                weights(after, book), weights(before, book), rtol=1e-6, atol=1e-6
            )


def weights(quantized: Quantized, book: Codebook) -> npt.NDArray[np.float64]:
    groups, _, cols = quantized.codes.shape
    factor = (quantized.scale.astype(np.float64) * quantized.gain).reshape(groups, 1, cols)
    values = book.values_us[quantized.codes[:, :, :]]
    return factor * (values - book.values_us[quantized.zero].reshape(groups, 1, cols))


def test_columns_turn_where_cells_are_stuck_at_the_other_end() -> None:
    """Weights lie at the top and the cells of one bitline at the bottom; none is free."""
    chip = BASE.with_levels(4)
    plan = plan_of(chip, [(1, 16, 16)])
    codes = np.full((1, 16, 16), 3, np.uint16)
    codes[:, 5] = 0
    plan = replace(plan, quantized=(replace(plan.quantized[0], codes=codes),))
    faults = FaultMap(tuple(Fault(0, row, 3, "stuck_gmin") for row in range(15)))
    found = MapCells(faults, settled=True)(plan, chip)
    (turned,) = np.flatnonzero(found.quantized[0].gain < 0)
    assert found.lines[0] is not None
    assert found.lines[0].bitlines[turned] == 3
    np.testing.assert_array_equal(found.quantized[0].codes[0, :, turned], 3 - codes[0, :, 0])
    assert left(found, chip, faults, made_up=False) == 0


def test_a_sign_is_one_for_all_tiles_of_a_column() -> None:
    """What half of a column's rows would gain, the other half loses twice."""
    chip = BASE.with_levels(4).with_array(8, 1)
    plan = plan_of(chip, [(1, 16, 1)])
    codes = np.full((1, 16, 1), 3, np.uint16)
    importance = np.ones((1, 16), np.float32)
    importance[0, 8:] = 2
    entry = replace(plan.quantized[0], codes=codes, importance=importance)
    plan = replace(plan, quantized=(entry,))
    one = [Fault(plan.places[0].array, row, 0, "stuck_gmin") for row in range(8)]
    other = [Fault(plan.places[1].array, row, 0, "stuck_gmax") for row in range(8)]
    assert (MapCells(FaultMap((*one, *other)), True)(plan, chip).quantized[0].gain == 1).all()
    assert (MapCells(FaultMap(tuple(one)), True)(plan, chip).quantized[0].gain == -1).all()


def test_it_helps() -> None:
    plan = plan_of(BASE, [(1, 12, 16)])
    faults = random_faults(plan, BASE, 0.1, 1)
    before = harm(mapped(plan, BASE, None), BASE, faults)
    assert harm(mapped(plan, BASE, faults), BASE, faults) < 0.5 * before


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_row_is_left_for_a_spare_one(kind: str) -> None:
    plan = plan_of(BASE, [(1, 15, 16)])
    dead = FaultMap((Fault(0, 4, None, kind),))
    (lines,) = mapped(plan, BASE, dead).lines
    assert lines is not None
    wordlines: npt.NDArray[np.int32] = lines.wordlines
    assert sorted(wordlines.tolist()) == [n for n in range(16) if n != 4]


def test_without_a_spare_row_a_dead_column_takes_the_least_important_output() -> None:
    plan = plan_of(BASE, [(1, 16, 16)])
    scale = np.full(16, 1.0, np.float32)
    scale[11] = 1e-3
    plan = replace(plan, quantized=(replace(plan.quantized[0], scale=scale),))
    (lines,) = mapped(plan, BASE, FaultMap((Fault(0, None, 5, "open"),))).lines
    assert lines is not None
    assert lines.bitlines[11] == 5


def test_without_a_spare_row_a_dead_row_takes_the_input_with_the_least_power() -> None:
    plan = plan_of(BASE, [(2, 16, 16)])
    importance = np.ones((2, 16), np.float32)
    importance[1, 11] = 1e-6
    plan = replace(plan, quantized=(replace(plan.quantized[0], importance=importance),))
    place = plan.places[1]
    dead = FaultMap((Fault(place.array, 5, None, "open"),))
    lines = mapped(plan, BASE, dead).lines[1]
    assert lines is not None
    assert lines.wordlines[11] == 5


def test_the_least_important_output_of_a_later_tile() -> None:
    plan = plan_of(BASE, [(1, 16, 20)])
    scale = np.full(20, 1.0, np.float32)
    scale[18] = 1e-3
    plan = replace(plan, quantized=(replace(plan.quantized[0], scale=scale),))
    place = plan.places[1]
    dead = FaultMap((Fault(place.array, None, place.col, "open"),))
    lines = MapCells(dead, wider=False)(plan, BASE).lines[1]
    assert lines is not None
    assert lines.bitlines[18 - 16] == place.col
    # All of the array's other bitlines are free, and then no output need take the dead one.
    free = mapped(plan, BASE, dead).lines[1]
    assert free is not None
    assert place.col not in free.bitlines


@pytest.mark.parametrize("seed", range(6))
def test_one_column_is_assigned_as_well_as_can_be(seed: int) -> None:
    chip = BASE.with_array(7, 1)
    plan = plan_of(chip, [(1, 5, 1)], seed)
    faults = random_faults(plan, chip, 0.7, seed)
    best = min(
        harm(replace(plan, lines=(Lines(np.array(wordlines), np.array([0])),)), chip, faults)
        for wordlines in itertools.permutations(range(7), 5)
    )
    ordered = MapCells(faults, signs=False)(plan, chip)
    assert harm(ordered, chip, faults) == pytest.approx(best)
    assert harm(mapped(plan, chip, faults), chip, faults) <= best * (1 + 1e-9)


def test_two_tiles_never_take_the_same_spare_row() -> None:
    """Both tiles of array 0 have dead rows and the array's only free rows are two."""
    plan = plan_of(BASE, [(1, 7, 16), (1, 7, 16)])
    assert plan.arrays == 1
    dead = FaultMap(tuple(Fault(0, row, None, "open") for row in (0, 7)))
    lines = mapped(plan, BASE, dead).lines
    used = [w for entry in lines if entry is not None for w in entry.wordlines.tolist()]
    assert sorted(used) == [n for n in range(16) if n not in (0, 7)]


@pytest.mark.parametrize("faults", [None, FaultMap(()), FaultMap((Fault(7, 0, 0, "open"),))])
def test_without_faults_nothing_moves(faults: FaultMap | None) -> None:
    plan = plan_of(BASE, [(1, 20, 16), (2, 3, 3)])
    assert mapped(plan, BASE, faults).lines == (None,) * len(plan.tiles)


def test_faults_outside_the_array_are_refused() -> None:
    with pytest.raises(DataError, match="outside an array"):
        MapCells(FaultMap((Fault(0, 16, 0, "open"),)))(plan_of(BASE, [(1, 2, 2)]), BASE)
