"""Every tile is read once, and tiles of an array together only on the same inputs and wordlines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.passes.layout.pack import Pack, Packing
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from pimc.plan.records import Lines, Place, Plan, Tile
from tests.passes.layout.made_plans import BASE, layer, plan_of, shapes


def scheduled(plan: Plan) -> list[tuple[int, tuple[int, ...]]]:
    whole = replace(plan, lines=plan.lines or (None,) * len(plan.tiles))
    return [(step.layer, step.tiles) for step in Scheduling()(whole, BASE).schedule]


@settings(deadline=None)
@given(shapes, st.sampled_from(["dense", "parallel", 2, "single"]))
def test_tiles_read_together_take_the_same_inputs(
    sizes: list[tuple[int, int, int]], packing: Packing
) -> None:
    chip = BASE.with_array(16, 12)
    plan = Tiling()(plan_of(tuple(layer(f"w{i}", *s) for i, s in enumerate(sizes))), chip)
    plan = replace(Pack(packing)(plan, chip), lines=(None,) * len(plan.tiles))
    plan = Scheduling()(plan, chip)
    check(plan, chip)
    assert [step.layer for step in plan.schedule] == sorted(step.layer for step in plan.schedule)
    for step in plan.schedule:
        driven: dict[int, tuple[int, int, int]] = {}
        for number in step.tiles:
            tile, place = plan.tiles[number], plan.places[number]
            inputs = (tile.group, tile.row, place.row)
            assert driven.setdefault(place.array, inputs) == inputs
    if packing == "single":
        assert len(plan.schedule) == len(sizes)


def two(places: tuple[Place, Place], *tiles: Tile) -> Plan:
    return replace(plan_of((layer("w0", 2, 4, 4),)), tiles=tiles, places=places, arrays=2)


def test_what_shares_an_array_waits_unless_inputs_and_wordlines_agree() -> None:
    left, right = Tile(0, 0, 0, 4, 0, 2), Tile(0, 0, 0, 4, 2, 2)
    other = Tile(0, 1, 0, 4, 0, 2)
    side_by_side = Place(0, 0, 0), Place(0, 0, 2)
    assert scheduled(two(side_by_side, left, right)) == [(0, (0, 1))]
    assert scheduled(two(side_by_side, left, other)) == [(0, (0,)), (0, (1,))]
    assert scheduled(two((Place(0, 0, 0), Place(0, 4, 0)), left, right)) == [(0, (0,)), (0, (1,))]
    assert scheduled(two((Place(0, 0, 0), Place(1, 4, 0)), left, other)) == [(0, (0, 1))]


def test_lines_that_moved_count_as_they_lie() -> None:
    left, right = Tile(0, 0, 0, 4, 0, 2), Tile(0, 0, 0, 4, 2, 2)
    plan = two((Place(0, 0, 0), Place(0, 0, 2)), left, right)

    def lines(*wordlines: int) -> Lines:
        return Lines(np.array(wordlines, np.int32), np.array([0, 1], np.int32))

    together = replace(plan, lines=(lines(3, 1, 0, 2), lines(3, 1, 0, 2)))
    apart = replace(plan, lines=(lines(3, 1, 0, 2), lines(3, 1, 2, 0)))
    assert scheduled(together) == [(0, (0, 1))]
    assert scheduled(apart) == [(0, (0,)), (0, (1,))]
