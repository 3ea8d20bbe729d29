"""Columns settle around stuck cells: no step makes their output error larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.passes.quantize.faulty import FaultyLayer, settled
from pimc.passes.quantize.rounding import (
    Grid,
    choose_grid,
    damped,
    refit_scale,
    round_nearest,
    units,
)
from pimc.plan.held import HeldWeights

Array = np.ndarray[Any, Any]

ROWS, COLS = 24, 6


def layer_of(
    kind: str, levels: int, rate: float, seed: int
) -> tuple[Array, Array, FaultyLayer, Codebook]:
    chip, rng = Chip.default().with_levels(levels).with_mapping(kind), np.random.default_rng(seed)
    book, levels_us = codebook(chip), np.asarray(chip.cell.g_levels_us)
    weight = rng.standard_normal((1, ROWS, COLS))
    mixed = rng.standard_normal((1, 200, ROWS)) @ rng.standard_normal((ROWS, ROWS))
    moments = np.swapaxes(mixed, 1, 2) @ mixed / 200
    grid = choose_grid(weight, np.ones((1, ROWS)), book, 0.0)
    codes = round_nearest(weight, grid, book)
    stuck = rng.random((1, ROWS, COLS, book.planes)) < rate
    ends = np.array([0.0, levels_us[0], levels_us[-1]])
    held_us = np.where(stuck, rng.choice(ends, stuck.shape), np.nan)
    held = HeldWeights.of(book, levels_us, held_us)
    return weight, moments, FaultyLayer(np.ones((1, COLS)), grid, codes, held), book


def error(
    weight: Array, moments: Array, grid: Grid, codes: Array, book: Codebook, held: HeldWeights
) -> Array:
    """rᵀ H r of every column."""
    away = grid.scale[:, None, :] * units(book, grid, codes, held) - weight
    squared: Array = np.einsum("gkn,gkl,gln->gn", away, damped(moments), away)
    return squared


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["offset", "differential", "sliced"]),
    st.sampled_from([2, 4, 16]),
    st.floats(0, 0.3),
    st.integers(0, 2**32 - 1),
)
def test_no_column_is_worse_than_with_its_stuck_cells_alone(
    kind: str, levels: int, rate: float, seed: int
) -> None:
    weight, moments, given_, book = layer_of(kind, levels, rate, seed)
    grid, codes = settled(weight, moments, given_, book)
    held = given_.held
    start = refit_scale(weight, moments, given_.grid, given_.codes, book, held)
    before = error(weight, moments, start, given_.codes, book, held)
    after = error(weight, moments, grid, codes, book, held)
    assert (after <= before * (1 + 1e-6) + 1e-9).all()
    assert codes.max() < len(book.values_us)


@pytest.mark.parametrize("kind", ["offset", "differential"])
def test_other_weights_make_up_for_stuck_ones(kind: str) -> None:
    weight, moments, given_, book = layer_of(kind, 16, 0.1, 3)
    grid, codes = settled(weight, moments, given_, book)
    held = given_.held
    start = refit_scale(weight, moments, given_.grid, given_.codes, book, held)
    before = error(weight, moments, start, given_.codes, book, held)
    after = error(weight, moments, grid, codes, book, held)
    assert after.sum() < 0.5 * before.sum()
