"""What weights can be whose cells are stuck: never further away than as they were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.plan.held import HeldWeights, code_values_us, squared_error

KINDS = ("offset", "differential", "sliced")


def chip_of(kind: str, levels: int) -> Chip:
    return Chip.default().with_levels(levels).with_mapping(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_sound_cells_conduct_what_the_codebook_says(kind: str) -> None:
    book, levels_us = codebook(chip_of(kind, 4)), chip_of(kind, 4).cell.g_levels_us
    nothing = np.full(book.planes, np.nan)
    values = code_values_us(book, np.asarray(levels_us), nothing)
    np.testing.assert_array_equal(values, book.values_us)


def test_a_pair_makes_up_for_a_cell_that_is_stuck_at_the_top() -> None:
    chip = chip_of("differential", 4)
    book, levels_us = codebook(chip), np.asarray(chip.cell.g_levels_us)
    top = levels_us[-1]
    left = squared_error(book, levels_us, 0, top, made_up=True)
    alone = squared_error(book, levels_us, 0, top, made_up=False)
    np.testing.assert_allclose(left[book.values_us >= 0], 0, atol=1e-18)
    np.testing.assert_allclose(alone[0], (top - levels_us[0]) ** 2)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS), st.sampled_from([2, 3, 4]), st.integers(0, 2**32 - 1), st.floats(0, 1)
)
def test_the_nearest_code_is_the_nearest_of_all(
    kind: str, levels: int, seed: int, share: float
) -> None:
    chip, rng = chip_of(kind, levels), np.random.default_rng(seed)
    book, levels_us = codebook(chip), np.asarray(chip.cell.g_levels_us)
    shape = (1, 5, 4)
    kinds = np.array([0.0, chip.cell.g_min_us, chip.cell.g_max_us])
    stuck = rng.random((*shape, book.planes)) < share
    held = HeldWeights.of(book, levels_us, np.where(stuck, rng.choice(kinds, stuck.shape), np.nan))
    codes = rng.integers(0, len(book.values_us), shape).astype(np.uint16)
    target = rng.uniform(book.values_us[0], book.values_us[-1], shape)
    found = held.nearest(codes, target, held.pattern)
    np.testing.assert_array_equal(held.stuck, stuck.any(axis=-1))
    np.testing.assert_array_equal(found[~held.stuck], codes[~held.stuck])
    for at in np.argwhere(held.stuck):
        values = code_values_us(book, levels_us, held.held_us[tuple(at)])
        distance = np.abs(values - target[tuple(at)])
        assert distance[found[tuple(at)]] <= distance.min() + 1e-8
        assert held.of_codes(found)[tuple(at)] == pytest.approx(values[found[tuple(at)]], abs=1e-8)


@pytest.mark.parametrize(("at", "code"), [("g_min_us", 0), ("g_max_us", 3)])
def test_a_single_cell_is_asked_for_what_it_holds(at: str, code: int) -> None:
    chip = chip_of("offset", 4)
    book, levels_us = codebook(chip), np.asarray(chip.cell.g_levels_us)
    held = HeldWeights.of(book, levels_us, np.full((1, 1, 1, 1), getattr(chip.cell, at)))
    asked = held.nearest(np.full((1, 1, 1), 2, np.uint16), np.full((1, 1, 1), 20.0), held.pattern)
    assert asked.item() == code
