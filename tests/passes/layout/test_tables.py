"""Tiles and read steps as the tables of an image, and how often layers run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pimc import api
from pimc.image.image import TILE_FIELDS
from pimc.passes.layout.tables import schedule_table, tile_table, vectors_of_layers
from pimc.plan.records import Place, ReadStep, Tile
from tests.passes.layout.made_plans import plan_of
from tests.passes.layout.networks import CHIP, products, separable


def test_a_row_says_where_a_tile_lies() -> None:
    tiles = (Tile(0, 1, 2, 3, 4, 5), Tile(1, 0, 0, 7, 0, 8))
    plan = replace(plan_of(()), tiles=tiles, places=(Place(9, 10, 11), Place(12, 0, 1)))
    table = tile_table(plan)
    assert table.dtype == np.int32
    assert TILE_FIELDS[:6] == ("layer", "group", "row", "rows", "col", "cols")
    assert table.tolist() == [[0, 1, 2, 3, 4, 5, 9, 10, 11], [1, 0, 0, 7, 0, 8, 12, 0, 1]]
    assert tile_table(plan_of(())).shape == (0, 9)


def test_steps_follow_each_other() -> None:
    plan = replace(plan_of(()), schedule=(ReadStep(0, (2, 0)), ReadStep(1, (1,))))
    assert schedule_table(plan).tolist() == [[0, 2], [0, 0], [1, 1]]
    assert schedule_table(plan_of(())).shape == (0, 2)


def test_vectors_of_a_sample() -> None:
    plan = api.plan(separable(), CHIP, stop_after="partition")
    assert vectors_of_layers(plan) == {"a": 36, "b": 36, "c": 36}
    again = api.plan(products(2, [0, 1, 0]), CHIP, stop_after="partition")
    assert vectors_of_layers(again) == {"w0": 2, "w1": 1}
