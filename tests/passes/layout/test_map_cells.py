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

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.fault_map import KINDS, Fault, FaultMap
from pimc.errors import DataError
from pimc.files.weight import Weight
from pimc.passes.layout.map_cells import MapCells, tile_levels
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
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
    lines = mapped(plan, BASE, dead).lines[1]
    assert lines is not None
    assert lines.bitlines[18 - 16] == place.col


@pytest.mark.parametrize("seed", range(6))
def test_one_column_is_assigned_as_well_as_can_be(seed: int) -> None:
    chip = BASE.with_array(7, 1)
    plan = plan_of(chip, [(1, 5, 1)], seed)
    faults = random_faults(plan, chip, 0.7, seed)
    best = min(
        harm(replace(plan, lines=(Lines(np.array(wordlines), np.array([0])),)), chip, faults)
        for wordlines in itertools.permutations(range(7), 5)
    )
    assert harm(mapped(plan, chip, faults), chip, faults) == pytest.approx(best)


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
