"""Tiles cover every cell of every layer once, and none is larger than an array."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import codebook
from pimc.errors import ChipError
from pimc.passes.layout.tile import Tiling
from pimc.passes.stages import check
from tests.passes.layout.made_plans import BASE, PAIR, layer, plan_of, shapes


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
