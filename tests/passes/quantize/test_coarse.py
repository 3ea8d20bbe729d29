"""Without data: grids nearly as good as those of all weights, codes worked out where asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.converters import dac_limits, fixed_lsb_us
from pimc.chip.design import Chip
from pimc.files.weights.weight import Weight
from pimc.passes.quantize.coarse import NearestCodes, coarse_grid, coarse_range, weight_error
from pimc.passes.quantize.rounding import Grid, choose_grid, nearest, round_nearest, weights_of
from pimc.plan.records import Layer

Array64 = npt.NDArray[np.float64]
BASE = Chip.default()
UNEVEN = BASE.with_(
    **{
        "cell.levels": 5,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 18.0, 40.0],
    }
)
CHIPS = {
    "offset": BASE,
    "two levels": BASE.with_levels(2),
    "differential": BASE.with_mapping("differential"),
    "sliced": BASE.with_levels(4).with_mapping("sliced"),
    "uneven": UNEVEN,
}
every_chip = pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)


def weights(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_column(values: npt.NDArray[Any]) -> Weight:
    return Weight(np.ascontiguousarray(values.swapaxes(1, 2)).swapaxes(1, 2))


def cost(weight: Array64, grid: Grid, book: Codebook) -> Array64:
    """Squared error of every column, write errors of the codes included."""
    codes = round_nearest(weight, grid, book)
    error = np.square(weights_of(book, grid, codes) - weight).sum(axis=1)
    noise: Array64 = error + grid.scale**2 * np.square(book.sigma_us[codes]).sum(axis=1)
    return noise


@every_chip
@pytest.mark.parametrize("rows", [1, 9, 128, 700])
def test_a_part_of_the_weights_judges_a_grid_nearly_as_well(chip: Chip, rows: int) -> None:
    book, whole = codebook(chip), weights(2, rows, 5)
    exact = choose_grid(whole.astype(float), np.ones((2, rows)), book, 1.0)
    grid = coarse_grid(Weight(whole), book, 1.0)
    assert grid.scale.shape == grid.zero.shape == (2, 5)
    assert (grid.scale > 0).all()
    worse = cost(whole.astype(float), grid, book) / cost(whole.astype(float), exact, book)
    assert worse.max() < 1.5
    assert worse.mean() < 1.25


@every_chip
def test_a_grid_does_not_depend_on_how_the_weights_lie(chip: Chip) -> None:
    book, whole = codebook(chip), weights(1, 300, 7)
    plain, turned = (coarse_grid(w, book, 1.0) for w in (Weight(whole), by_column(whole)))
    np.testing.assert_array_equal(plain.scale, turned.scale)
    np.testing.assert_array_equal(plain.zero, turned.zero)


@every_chip
def test_columns_of_zeros_have_a_grid(chip: Chip) -> None:
    grid = coarse_grid(Weight(np.zeros((1, 300, 2), np.float32)), codebook(chip), 1.0)
    assert np.isfinite(grid.scale).all()
    assert (grid.scale > 0).all()


# --- codes -----------------------------------------------------------------------------------


@every_chip
def test_codes_are_the_nearest(chip: Chip) -> None:
    book, whole = codebook(chip), weights(2, 40, 6)
    grid = coarse_grid(Weight(whole), book, 1.0)
    codes = NearestCodes(Weight(whole), grid, book)
    assert codes.shape == (2, 40, 6)
    every = codes[:, :, :]
    assert every.dtype == np.uint16
    target = whole / grid.scale[:, None] + book.values_us[grid.zero][:, None]
    # Half way between two codes single precision may decide either way.
    apart = np.abs(target - book.values_us[every])
    best = np.abs(target - book.values_us[nearest(book, target)])
    np.testing.assert_allclose(apart, best, rtol=1e-4, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.sampled_from(sorted(CHIPS)), st.booleans())
def test_a_block_of_codes_is_that_of_all(data: st.DataObject, name: str, turned: bool) -> None:
    book, whole = codebook(CHIPS[name]), weights(3, 20, 6, seed=1)
    weight = by_column(whole) if turned else Weight(whole)
    grid = coarse_grid(weight, book, 1.0)
    codes = NearestCodes(weight, grid, book)
    every = codes[:, :, :]

    def part(size: int) -> slice:
        start = data.draw(st.integers(0, size - 1))
        return slice(start, data.draw(st.integers(start + 1, size)))

    group: int | slice = data.draw(st.integers(0, 2)) if data.draw(st.booleans()) else part(3)
    block = group, part(20), part(6)
    np.testing.assert_array_equal(codes[block], every[block])
    np.testing.assert_array_equal(codes.of(block, weight[block]), every[block])


@every_chip
@pytest.mark.parametrize("turned", [False, True])
def test_the_error_is_what_it_says(chip: Chip, turned: bool) -> None:
    book, whole = codebook(chip), weights(2, 30, 4)
    weight = by_column(whole) if turned else Weight(whole)
    grid = coarse_grid(weight, book, 1.0)
    codes = NearestCodes(weight, grid, book)
    held = weights_of(book, grid, codes[:, :, :])
    wanted = np.square(held - whole).sum() / np.square(whole.astype(float)).sum()
    lazy = weight_error(weight, grid, codes, book)
    assert lazy == pytest.approx(wanted, rel=1e-4)
    assert lazy == float(np.float32(lazy))
    assert weight_error(weight, grid, codes[:, :, :], book) == pytest.approx(lazy, rel=1e-6)


def test_weights_of_zero_have_no_error() -> None:
    book = codebook(BASE)
    zeros = Weight(np.zeros((1, 3, 3), np.float32))
    grid = coarse_grid(zeros, book, 1.0)
    assert weight_error(zeros, grid, NearestCodes(zeros, grid, book), book) == 0.0


# --- ranges ----------------------------------------------------------------------------------


def layer(groups: int, rows: int, cols: int) -> Layer:
    weight, bias = Weight(weights(groups, rows, cols)), np.zeros(groups * cols, np.float32)
    return Layer("w", "y", "Conv", groups, rows, cols, None, weight, bias)


def rng(layer: Layer) -> np.random.Generator:
    return np.random.default_rng(layer.rows)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(1, 20, 6), (40, 9, 1), (1, 300, 200)])
def test_a_range_is_positive_and_the_same_each_time(
    signed: bool, shape: tuple[int, int, int]
) -> None:
    book, made = codebook(BASE), layer(*shape)
    grid = coarse_grid(made.weight, book, 1.0)
    first, second = (
        coarse_range(made, grid, BASE, book, dac_limits(BASE, signed), rng) for _ in "ab"
    )
    assert first == second
    assert first.lsb_us > 0
    assert first.column_lsb_us is None


def test_every_column_may_have_a_range_of_its_own() -> None:
    chip = BASE.with_(**{"adc.range": "column"}).with_mapping("sliced")
    book, made = codebook(chip), layer(2, 20, 50)
    grid = coarse_grid(made.weight, book, 1.0)
    found = coarse_range(made, grid, chip, book, dac_limits(chip, True), rng)
    assert found.column_lsb_us is not None
    assert found.column_lsb_us.shape == (2, 50 * book.col_planes)
    assert found.lsb_us == found.column_lsb_us.max()


def test_a_fixed_range_is_the_chips() -> None:
    chip = BASE.with_(**{"adc.range": "fixed", "adc.full_scale_us": 1000.0})
    made, book = layer(1, 20, 6), codebook(chip)
    grid = coarse_grid(made.weight, book, 1.0)
    assert coarse_range(made, grid, chip, book, dac_limits(chip, True), rng).lsb_us == fixed_lsb_us(
        chip, True
    )
