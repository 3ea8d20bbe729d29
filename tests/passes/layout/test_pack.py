"""Packing puts every tile on a spot of its own, and uses few arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.passes.layout.pack import Pack, Packing
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from tests.passes.layout.made_plans import (
    BASE,
    PAIR,
    Sizes,
    blocks,
    layer,
    plan_of,
    shapes,
    sizes_of,
)


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
