"""Arrays against read steps, copies of slow layers, phases of networks too large, the mesh."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.errors import ModelError, UsageError
from pimc.image.cost import activations, layer_costs
from pimc.image.summary import summarize
from pimc.passes.layout.layouts import (
    Stage,
    copies,
    front,
    stages,
)
from pimc.passes.layout.mesh import annealed, distances, hops
from pimc.passes.layout.pack import Packing
from pimc.passes.layout.tables import schedule_table, tile_table
from pimc.passes.layout.tile import Tiling
from pimc.plan.records import Plan, array_nodes, layer_of
from pimc.runtime.session import Session
from tests.passes.conftest import build_net

CHIP = Chip.default().with_array(16, 16)
RNG = np.random.default_rng(0)


def separable() -> onnx.ModelProto:
    """A depthwise convolution of 24 groups, which dense packing puts into few arrays."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["u"], pads=[1] * 4),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Conv", ["v", "b"], ["w"], group=24, pads=[1] * 4),
        helper.make_node("Conv", ["w", "c"], ["y"]),
    ]
    weights = {
        "a": RNG.standard_normal((24, 2, 3, 3)),
        "b": RNG.standard_normal((24, 1, 3, 3)),
        "c": RNG.standard_normal((8, 24, 1, 1)),
    }
    return build_net(nodes, {"x": ["N", 2, 6, 6]}, weights)


def tiled(model: onnx.ModelProto, chip: Chip = CHIP) -> Plan:
    return Tiling()(api.plan(model, chip, stop_after="partition"), chip)


def compiled(model: onnx.ModelProto, packing: Packing, chip: Chip = CHIP) -> Plan:
    return api.plan(model, chip, options=api.Options(packing=packing))


@pytest.mark.parametrize("turns", [1, 2, 3, 7])
def test_no_layer_takes_more_turns_in_an_array(turns: int) -> None:
    plan = compiled(separable(), turns)
    reads = activations(tile_table(plan), schedule_table(plan))
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for layer, array in zip(reads.layer.tolist(), reads.array.tolist(), strict=True):
        counts[layer, array] += 1
    assert max(counts.values()) <= turns


def test_parallel_packing_reads_each_layer_in_one_step_and_shares_arrays() -> None:
    parallel, single = (compiled(separable(), packing) for packing in ("parallel", "single"))
    assert len(parallel.schedule) == len(parallel.layers)
    assert parallel.arrays < single.arrays == len(single.tiles)


def test_the_front_has_nothing_that_is_beaten() -> None:
    plan = tiled(separable())
    found = front(plan, CHIP)
    assert len(found) > 2
    arrays, steps = [a.arrays for a in found], [a.steps for a in found]
    assert arrays == sorted(set(arrays))
    assert steps == sorted(set(steps), reverse=True)
    assert found[0].packing == "dense"
    latencies = [a.latency_ns for a in found if a.latency_ns is not None]
    assert latencies == sorted(latencies, reverse=True)
    for layout in found:
        whole = compiled(separable(), layout.packing)
        assert (whole.arrays, len(whole.schedule)) == (layout.arrays, layout.steps)


def test_a_layouts_latency_is_that_of_its_image() -> None:
    for layout in front(tiled(separable()), CHIP):
        image = api.compile(separable(), CHIP, options=api.Options(packing=layout.packing))
        total = sum(cost.latency_ns for cost in layer_costs(image) if cost is not None)
        assert layout.latency_ns == pytest.approx(total)


def test_stages_and_their_buffers() -> None:
    found = {stage.layer: stage for stage in stages(tiled(separable()), CHIP)}
    # Three lines of six values of each channel; a 1×1 window needs one.
    assert {n: s.buffer_values for n, s in found.items()} == {"a": 36, "b": 432, "c": 144}
    assert found["b"].arrays == 24
    step_ns = CHIP.array.read_ns + 16 * CHIP.adc.convert_ns
    assert found["a"].busy_ns == pytest.approx(36 * step_ns)


STAGES = [Stage("a", 2, 100.0, 1, 60), Stage("b", 1, 40.0, 1, 60), Stage("c", 5, 30.0, 1, 60)]


@pytest.mark.parametrize(
    ("budget", "expected", "arrays", "interval"),
    [
        (8, (1, 1, 1), 8, 100.0),
        (9, (1, 1, 1), 8, 100.0),
        (10, (2, 1, 1), 10, 50.0),
        (12, (3, 1, 1), 12, 40.0),
        (13, (3, 2, 1), 13, 100 / 3),
        (15, (4, 2, 1), 15, 30.0),
        (20, (4, 2, 2), 20, 25.0),
    ],
)
def test_copies_go_to_the_slowest_stage(
    budget: int, expected: tuple[int, ...], arrays: int, interval: float
) -> None:
    found = copies(STAGES, budget)
    assert (found.copies, found.arrays) == (expected, arrays)
    assert found.interval_ns == pytest.approx(interval)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.floats(1.0, 1e6), st.integers(1, 20)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 60),
)
def test_copies_keep_to_the_budget(sizes: list[tuple[int, float, int]], spare: int) -> None:
    every = [Stage(str(k), arrays, ns, 1, lines) for k, (arrays, ns, lines) in enumerate(sizes)]
    budget = sum(arrays for arrays, _, _ in sizes) + spare
    found = copies(every, budget)
    assert found.arrays == sum(s.arrays * n for s, n in zip(every, found.copies, strict=True))
    assert found.arrays <= budget
    slowest = 0.0
    for (_, ns, lines), n in zip(sizes, found.copies, strict=True):
        assert n <= lines
        # One copy less would take longer.
        assert n == 1 or -(-lines // (n - 1)) > -(-lines // n)
        slowest = max(slowest, ns * -(-lines // n) / lines)
    assert found.interval_ns == pytest.approx(slowest)


def test_stages_that_take_no_time_are_not_copied() -> None:
    found = copies([Stage("a", 1, 0.0, 1, 1000), Stage("b", 1, 0.0, 1, 5)], 5000)
    assert (found.copies, found.arrays) == ((1, 1), 2)


def test_stages_in_bodies_are_there_once() -> None:
    body = Stage("d", 3, None, 1, 1, in_body=True)
    found = copies([*STAGES, body], 13)
    assert (found.copies, found.arrays, found.interval_ns) == ((2, 1, 1, 1), 13, None)
    alone = copies([body], 9)
    assert (alone.copies, alone.arrays, alone.interval_ns) == ((1,), 3, None)


def test_a_budget_too_small_and_shapes_not_known() -> None:
    with pytest.raises(UsageError, match="takes 8 arrays, the budget is 7"):
        copies(STAGES, 7)
    with pytest.raises(UsageError, match="how often each layer runs is not known"):
        copies([*STAGES, Stage("d", 1, None, None)], 100)


# --- phases ----------------------------------------------------------------------------------


def products(count: int, order: list[int] | None = None) -> onnx.ModelProto:
    """Matrices of one array each, used in this order."""
    used = list(range(count)) if order is None else order
    nodes = []
    for step, number in enumerate(used):
        nodes.append(helper.make_node("MatMul", [f"x{step}", f"w{number}"], [f"m{step}"]))
        nodes.append(helper.make_node("Relu", [f"m{step}"], [f"x{step + 1}"]))
    weights = {f"w{k}": RNG.standard_normal((16, 16)) for k in range(count)}
    return build_net(nodes, {"x0": ["N", 16]}, weights, outputs=(f"x{len(used)}",))


def small(arrays: int) -> Chip:
    return CHIP.with_(**{"hierarchy.cores": arrays, "hierarchy.arrays_per_core": 1})


@pytest.mark.parametrize(
    ("order", "arrays", "starts"),
    [
        ([0, 1, 2, 3, 4], 5, (0,)),
        ([0, 1, 2, 3, 4], 2, (0, 2, 4)),
        ([0, 1, 2, 3, 4], 1, (0, 1, 2, 3, 4)),
        ([0, 1, 2, 1, 3, 4], 2, (0, 1, 3)),  # what is used again must still be there
        ([0, 1, 2, 1, 3, 4], 3, (0, 3)),
        ([0, 1, 2, 1, 3, 4], 4, (0, 4)),
    ],
)
def test_layers_are_cut_into_phases(order: list[int], arrays: int, starts: tuple[int, ...]) -> None:
    plan = api.plan(products(5, order), small(arrays), options=api.Options(phases=True))
    assert plan.phases == starts
    ends = (*starts[1:], plan.arrays)
    assert all(end - start <= arrays for start, end in zip(starts, ends, strict=True))
    # A layer lies in one phase, and phases follow each other.
    phase = {
        tile.layer: int(np.searchsorted(ends, place.array, "right"))
        for tile, place in zip(plan.tiles, plan.places, strict=True)
    }
    index = {layer.name: number for number, layer in enumerate(plan.layers)}
    seen = [phase[index[layer_of(node)]] for node in array_nodes(plan.graph)]
    assert seen == sorted(seen)


def test_a_phase_larger_than_the_chip_is_refused() -> None:
    with pytest.raises(ModelError, match="w1, w2: needed at once on 2 arrays, and the chip has 1"):
        api.plan(products(3, [0, 1, 2, 1]), small(1), options=api.Options(phases=True))
    with pytest.raises(ModelError, match="needs 3 arrays and the chip has 2: 1 are missing"):
        api.plan(products(3), small(2))


def test_an_image_in_phases_computes_the_same() -> None:
    model = products(4)
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    whole = api.compile(model, small(4))
    parts = api.compile(model, small(2), options=api.Options(phases=True))
    assert whole.phases == (0,)
    assert parts.phases == (0, 2)
    (expected,), (found,) = (Session(image).run(None, {"x0": x}) for image in (whole, parts))
    np.testing.assert_array_equal(found, expected)


def test_faults_of_the_chip_are_there_in_every_phase() -> None:
    """Both phases avoid the wordline of array 0 that is stuck, where rows are free."""
    nodes = [
        helper.make_node("MatMul", ["x0", "w0"], ["x1"]),
        helper.make_node("MatMul", ["x1", "w1"], ["x2"]),
    ]
    weights = {f"w{k}": RNG.standard_normal((8, 8)) for k in range(2)}
    model = build_net(nodes, {"x0": ["N", 8]}, weights, outputs=("x2",))
    chip = CHIP.with_array(12, 8).with_(**{"hierarchy.cores": 1, "hierarchy.arrays_per_core": 1})
    faults = FaultMap((Fault(0, 3, None, "stuck_gmax"),))
    options = api.Options(phases=True)
    plan = api.plan(model, chip, faults=faults, options=options)
    assert plan.phases == (0, 1)
    assert [plan.slot(place.array) for place in plan.places] == [0, 0]
    for lines in plan.lines:
        assert lines is not None
        assert 3 not in lines.wordlines


@pytest.mark.parametrize(("available", "once"), [(5, 5), (2, 2), (3, 3)])
def test_area_is_that_of_the_largest_phase(available: int, once: int) -> None:
    areas = {"array.cell_area_um2": 1.0, "dac.area_um2": 0.0}
    chip = small(available).with_(**areas)
    found = summarize(api.compile(products(5), chip, options=api.Options(phases=True)))
    assert found["arrays_at_once"] == once
    assert found["area_um2"] == pytest.approx(once * (16 * 16 + chip.adc.area_um2))


# --- mesh ------------------------------------------------------------------------------------


def test_distances_are_hops() -> None:
    found = distances(5, 3)  # 0 1 2 / 3 4
    assert found[0].tolist() == [0, 1, 2, 1, 2]
    assert (found == found.T).all()


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_annealing_is_an_order_and_never_worse(parts: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    traffic = rng.random((parts, parts)) * (rng.random((parts, parts)) < 0.4)
    traffic = np.triu(traffic, 1) + np.triu(traffic, 1).T
    distance, plain = distances(parts, cols), np.arange(parts)
    order = annealed(traffic, distance, parts - 1)
    assert sorted(order) == plain.tolist()
    assert order[-1] == parts - 1
    assert hops(traffic, distance, order) <= hops(traffic, distance, plain) * (1 + 1e-9)
    np.testing.assert_array_equal(order, annealed(traffic, distance, parts - 1))


def test_annealing_finds_a_scrambled_chain() -> None:
    """Parts that talk to one neighbour each, on a line: nobody needs more than one hop."""
    parts = 12
    place = np.random.default_rng(3).permutation(parts)
    traffic = np.zeros((parts, parts))
    for a, b in pairwise(place.tolist()):
        traffic[a, b] = traffic[b, a] = 1.0
    distance = distances(parts, parts)
    assert hops(traffic, distance, np.arange(parts)) > 30
    assert hops(traffic, distance, annealed(traffic, distance, parts)) <= 15
