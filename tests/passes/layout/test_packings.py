"""Arrays against read steps: the ways to pack that are worth having."""

from __future__ import annotations

from collections import defaultdict

import pytest

from pimc import api
from pimc.image.cost import activations, layer_costs
from pimc.passes.layout.packings import pareto_front
from pimc.passes.layout.tables import schedule_table, tile_table
from tests.passes.layout.networks import CHIP, compiled, separable, tiled


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
    found = pareto_front(plan, CHIP)
    assert len(found) > 2
    arrays, steps = [a.arrays for a in found], [a.steps for a in found]
    assert arrays == sorted(set(arrays))
    assert steps == sorted(set(steps), reverse=True)
    assert found[0].packing == "dense"
    latencies = [a.latency_ns for a in found if a.latency_ns is not None]
    assert latencies == sorted(latencies, reverse=True)
    for choice in found:
        whole = compiled(separable(), choice.packing)
        assert (whole.arrays, len(whole.schedule)) == (choice.arrays, choice.steps)


def test_a_choices_latency_is_that_of_its_image() -> None:
    for choice in pareto_front(tiled(separable()), CHIP):
        image = api.compile(separable(), CHIP, options=api.Options(packing=choice.packing))
        total = sum(cost.latency_ns for cost in layer_costs(image) if cost is not None)
        assert choice.latency_ns == pytest.approx(total)
