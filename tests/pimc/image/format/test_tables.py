"""Tables with named columns are the tensors, column by column, and nothing is copied."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.image.format.tables import TILE_FIELDS, Schedule, Tiles, line_tables
from pimc.image.image import Image
from pimc.plan.records import Lines, Place, Tile

TABLE = np.arange(27, dtype=np.int32).reshape(3, 9)


def test_columns_by_name_are_views_of_the_tensor() -> None:
    tiles = Tiles.of(TABLE)
    for number, name in enumerate(TILE_FIELDS):
        column = getattr(tiles, name)
        assert np.shares_memory(column, TABLE)
        assert column.tolist() == TABLE[:, number].tolist()
    assert len(tiles) == 3
    np.testing.assert_array_equal(tiles.table(), TABLE)
    assert tiles.table().dtype == np.int32


def test_one_tile_as_the_plan_has_it() -> None:
    tiles = Tiles.of(TABLE)
    assert tiles.tile(1) == Tile(layer=9, group=10, row=11, rows=12, col=13, cols=14)
    assert tiles.place(1) == Place(array=15, row=16, col=17)
    # Whole numbers of Python: an address may be larger than 32 bits hold.
    assert type(tiles.place(1).array) is int
    again = Tiles.placed([tiles.tile(n) for n in range(3)], [tiles.place(n) for n in range(3)])
    np.testing.assert_array_equal(again.table(), TABLE)
    assert Tiles.placed([], []).table().shape == (0, 9)


def test_some_tiles() -> None:
    tiles = Tiles.of(TABLE)
    assert tiles.chosen(np.array([2, 0])).array.tolist() == [24, 6]
    assert tiles.chosen(tiles.layer > 0).layer.tolist() == [9, 18]
    assert tiles.of_layer(9).tolist() == [1]


def test_schedule() -> None:
    table = np.array([[0, 2], [1, 0]], np.int32)
    schedule = Schedule.of(table)
    assert (schedule.step.tolist(), schedule.tile.tolist()) == ([0, 1], [2, 0])
    np.testing.assert_array_equal(schedule.table(), table)


def test_tables_of_an_image(tiny_image: Image) -> None:
    tiles, schedule = tiny_image.tiles, tiny_image.schedule
    assert np.shares_memory(tiles.array, tiny_image.tensors["tiles"])
    assert sorted(schedule.tile.tolist()) == list(range(len(tiles)))
    assert int((tiles.rows * tiles.cols).sum()) == int(tiny_image.used.sum())
    assert set(tiles.layer.tolist()) == {layer.index for layer in tiny_image.layers}


@pytest.mark.parametrize("moved", [True, False])
def test_lines_of_moved_tiles(moved: bool) -> None:
    lines = Lines(np.array([3, 1], np.int32), np.array([0, 2, 4], np.int32))
    found = line_tables([None, lines, None] if moved else [None, None])
    if not moved:
        assert found == (None, None)
        return
    table, offsets = found
    assert table is not None
    assert offsets is not None
    assert table.tolist() == [3, 1, 0, 2, 4]
    assert offsets.tolist() == [-1, 0, -1]
    assert table.dtype == offsets.dtype == np.int32
