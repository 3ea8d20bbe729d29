"""A tile among faults: no move makes it cost more; signs are chosen with what lies elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.passes.layout.faulty_tile import FaultyTile, assigned


def tile_of(seed: int, rate: float, room: int = 4) -> FaultyTile:
    """A tile of 5×4 on an array with ``room`` lines more, a few cells of which are taken."""
    rng = np.random.default_rng(seed)
    size = (5 + room, 4 + room)
    occupied = np.zeros(size, np.bool_)
    occupied[:5, :4] = True
    occupied[5:, 4:] = rng.random((room, room)) < 0.3
    stuck = rng.integers(1, 3, size) * (rng.random(size) < rate)
    return FaultyTile(
        [rng.random((2, 5, 4)), rng.random((2, 5, 4))],
        [stuck == 1, stuck == 2],
        occupied,
        np.arange(5),
        np.arange(4),
        np.arange(4),
        rng.random(4) < 0.5,
    )


def total(tile: FaultyTile, others: np.ndarray) -> float:
    cost = tile.cost() + others
    return float(np.where(tile.turned, cost[1], cost[0]).sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.6), st.booleans(), st.booleans())
def test_no_move_costs_more(seed: int, rate: float, signs: bool, wider: bool) -> None:
    tile = tile_of(seed, rate)
    others = np.random.default_rng(seed).random((2, 4))
    foreign = tile.occupied.sum() - 20
    before = total(tile, others)
    for _ in range(2):
        tile.move_rows()
        tile.move_columns(others if signs else None, wider=wider)
        assert total(tile, others) <= before + 1e-12
        before = total(tile, others)
    assert tile.occupied.sum() == foreign + 20
    assert tile.occupied[np.ix_(tile.wordlines, tile.bitlines)].all()
    if not wider:
        assert set(tile.bitlines.tolist()) == set(range(4))


def test_a_column_turns_where_that_costs_less_here_and_elsewhere_together() -> None:
    tile = tile_of(0, 0.0)
    tile.turned = np.zeros(4, np.bool_)
    tile.move_columns(np.array([[1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 1.5, np.inf]]))
    assert tile.turned.tolist() == [True, False, False, False]


def test_every_row_gets_a_column_of_its_own() -> None:
    assert assigned(np.array([[1.0, 2.0, 9.0], [1.0, 9.0, 9.0]])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="infeasible"):
        assigned(np.full((2, 2), np.inf))
