"""Rounding: scales that fit, codes in range, and feedback that serves the layer's output."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.passes.quantize.rounding import (
    Codes,
    Grid,
    choose_grid,
    damped,
    nearest,
    refit_scale,
    round_nearest,
    round_with_feedback,
    weights_of,
)

Array64 = npt.NDArray[np.float64]
BASE = Chip.default()
UNEVEN = BASE.with_(
    **{
        "cell.levels": 5,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 18.0, 40.0],
    }
)
#: Steps that grow, so that half of the levels lie in the lower third.
WIDENING = UNEVEN.with_(
    **{"cell.levels": 8, "cell.g_levels_us": [2.0, 4.0, 8.0, 12.0, 17.0, 23.0, 31.0, 40.0]}
)
CHIPS = [
    BASE,
    BASE.with_levels(2),
    BASE.with_levels(3),
    UNEVEN,
    BASE.with_mapping("differential"),
    BASE.with_levels(4).with_mapping("sliced"),
    UNEVEN.with_mapping("differential"),
]
names = [f"{c.mapping.kind}-{c.cell.levels}-{c.cell.spacing}" for c in CHIPS]
every_chip = pytest.mark.parametrize("chip", CHIPS, ids=names)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> Array64:
    return np.random.default_rng(seed).standard_normal(shape)


def correlated(seed: int, rows: int, strength: float = 0.9) -> Array64:
    """(1, rows, rows) second moments of inputs of which each resembles its neighbours."""
    distance = np.abs(np.subtract.outer(np.arange(rows), np.arange(rows)))
    spread = np.exp(normal(seed, rows) / 2)
    moments: Array64 = strength**distance * np.outer(spread, spread)
    return moments[None]


def error_of(weight: Array64, moments: Array64, held: Array64) -> Array64:
    """Mean squared error of each output, (groups, cols)."""
    error = weight - held
    result: Array64 = np.einsum("gkn,gkl,gln->gn", error, moments, error)
    return result


def ones(weight: Array64) -> Array64:
    return np.ones(weight.shape[:2])


def covering(weight: Array64, book: Codebook) -> Grid:
    """The plain choice: zero in the middle, and no weight clipped."""
    values, middle = book.values_us, book.values_us[book.middle]
    above, below = values[-1] - middle, middle - values[0]
    scale = np.maximum(weight.max(axis=1) / above, -weight.min(axis=1) / below)
    return Grid(scale, np.full(scale.shape, book.middle, np.uint16))


# --- nearest ---------------------------------------------------------------------------------


@every_chip
@settings(max_examples=20)
@given(seeds)
def test_nearest_is_nearest(chip: Chip, seed: int) -> None:
    book = codebook(chip)
    target = normal(seed, 200) * 60
    codes = nearest(book, target)
    distance = np.abs(target[:, None] - book.values_us)
    assert codes.dtype == np.uint16
    chosen = np.take_along_axis(distance, codes[:, None].astype(np.int64), axis=1)[:, 0]
    assert np.allclose(chosen, distance.min(axis=1))


# --- grid ------------------------------------------------------------------------------------


@every_chip
@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 3), st.integers(1, 40), st.integers(1, 6))
def test_codes_and_scales_are_valid(
    chip: Chip, seed: int, groups: int, rows: int, cols: int
) -> None:
    book = codebook(chip)
    weight = normal(seed, groups, rows, cols) * 10.0 ** normal(seed + 1, 1, 1, cols)
    grid = choose_grid(weight, ones(weight), book, 0.0)
    moments = np.tile(correlated(seed, rows), (groups, 1, 1))
    assert grid.scale.shape == grid.zero.shape == (groups, cols)
    assert (grid.scale > 0).all()
    assert np.isfinite(grid.scale).all()
    assert grid.zero.max() < len(book.values_us)
    for codes in (
        round_nearest(weight, grid, book),
        round_with_feedback(weight, moments, grid, book),
    ):
        assert codes.shape == weight.shape
        assert codes.dtype == np.uint16
        assert codes.max() < len(book.values_us)
        refitted = refit_scale(weight, moments, grid, codes, book)
        assert (refitted.scale > 0).all()
        assert np.isfinite(weights_of(book, refitted, codes)).all()


@pytest.mark.parametrize("chip", [c for c in CHIPS if c.cell.levels > 2])
@settings(max_examples=15)
@given(seeds)
def test_the_grid_is_never_worse_than_one_that_clips_nothing(chip: Chip, seed: int) -> None:
    book = codebook(chip)
    weight = normal(seed, 1, 30, 4) ** 3
    importance = np.abs(normal(seed + 1, 1, 30)) + 0.1
    grid, plain = choose_grid(weight, importance, book, 0.0), covering(weight, book)

    def cost(grid: Grid) -> Array64:
        error = weight - weights_of(book, grid, round_nearest(weight, grid, book))
        summed: Array64 = np.einsum("gk,gkn->gn", importance, error**2)
        return summed

    assert (cost(grid) <= cost(plain) * (1 + 1e-9)).all()


def test_the_grid_is_clearly_better_for_normal_weights_on_few_levels() -> None:
    book = codebook(BASE.with_levels(8))
    weight = normal(0, 1, 256, 32)
    power = error_of(weight, np.eye(256)[None], 0 * weight).sum()
    found = []
    for grid in (choose_grid(weight, ones(weight), book, 0.0), covering(weight, book)):
        held = weights_of(book, grid, round_nearest(weight, grid, book))
        found.append(error_of(weight, np.eye(256)[None], held).sum() / power)
    assert found[0] < 0.75 * found[1]
    # No 8-level quantizer beats the 8-level Lloyd-Max one, 0.0345 of a normal's power (Max 1960).
    assert 0.0345 < found[0] < 0.05


def test_the_zero_follows_a_column_of_one_sign() -> None:
    book = codebook(BASE)
    weight = np.abs(normal(0, 1, 64, 2)) * np.array([1.0, -1.0])
    grid = choose_grid(weight, ones(weight), book, 0.0)
    assert grid.zero[0, 0] < book.middle < grid.zero[0, 1]


@pytest.mark.parametrize("unit", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("below", [0.1, 0.25, 0.5, 0.7])
def test_the_levels_span_the_range_of_a_column(below: float, unit: float) -> None:
    """Weights spread evenly, some below zero: as many levels are, and no range is left idle."""
    book = codebook(BASE)
    weight = unit * (np.linspace(0, 1, 300) - below)[None, :, None]
    grid = choose_grid(weight, ones(weight), book, 0.0)
    assert abs(grid.zero[0, 0] / 15 - below) < 0.05
    step = grid.scale[0, 0] * 38 / 15
    assert unit / 16 < step < 1.1 * unit / 15
    held = weights_of(book, grid, round_nearest(weight, grid, book))
    # Steps of a fifteenth leave errors spread evenly over one.
    assert np.sqrt(((held - weight) ** 2).mean()) < 1.2 * unit / 15 / np.sqrt(12)


@every_chip
@pytest.mark.parametrize("unit", [2.0**-10, 2.0**10])
def test_the_grid_follows_the_unit_of_the_weights(chip: Chip, unit: float) -> None:
    """A layer whose weights are all a thousand times larger is cut at the same places."""
    book = codebook(chip.with_sigma(0.1))
    weight, importance = normal(1, 2, 60, 12), np.abs(normal(2, 2, 60))
    grid, other = (choose_grid(unit**k * weight, importance, book, 1.0) for k in (0, 1))
    assert np.array_equal(other.scale, unit * grid.scale)
    assert np.array_equal(other.zero, grid.zero)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("chip", [BASE.with_levels(8), WIDENING])
def test_the_grid_has_the_least_error_once_it_is_written(chip: Chip, share: float) -> None:
    """Of cells that land beside their targets, and count with a share of that variance."""
    chip = chip.with_sigma(0.1)
    book, levels_us = codebook(chip), np.asarray(chip.cell.g_levels_us)
    weight, importance = normal(3, 1, 100, 40), np.abs(normal(4, 1, 100, 1))
    draws = normal(5, 200, *weight.shape)
    grid = choose_grid(weight, importance[:, :, 0], book, share)

    def error(grid: Grid) -> float:
        codes = round_nearest(weight, grid, book)
        held_us = levels_us[book.levels[codes][..., 0]]
        landed_us = held_us + np.sqrt(share) * draws * chip.cell.sigma.sigma_us(held_us)
        zero_us = book.values_us[grid.zero][:, None]
        held = grid.scale[:, None] * (landed_us - zero_us)
        return float((importance * (held - weight) ** 2).sum() / len(draws))

    for factor in (0.6, 0.8, 0.9, 1.1, 1.25, 1.6):
        assert error(grid) < error(Grid(factor * grid.scale, grid.zero))


def test_write_noise_asks_for_a_narrower_scale() -> None:
    book = codebook(BASE.with_sigma(0.1))
    weight = normal(0, 1, 200, 16)
    careless, careful = (choose_grid(weight, ones(weight), book, n).scale for n in (0.0, 1.0))
    assert careful.mean() < 0.95 * careless.mean()


@every_chip
def test_columns_of_zeros_stay_zero(chip: Chip) -> None:
    book = codebook(chip)
    weight = normal(0, 1, 20, 3)
    weight[:, :, 1] = 0.0
    grid = choose_grid(weight, ones(weight), book, 1.0)
    moments = correlated(0, 20)
    for codes in (
        round_nearest(weight, grid, book),
        round_with_feedback(weight, moments, grid, book),
    ):
        held = weights_of(book, refit_scale(weight, moments, grid, codes, book), codes)
        assert (held[:, :, 1] == 0.0).all()
        assert (held[:, :, 0] != 0.0).any()


@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
def test_two_levels_hold_what_two_levels_can(sign: float) -> None:
    """A column of both signs loses one of them, but not the other as well."""
    book = codebook(BASE.with_levels(2))
    weight = normal(0, 1, 50, 8)
    weight = weight if sign == 0.0 else sign * np.abs(weight)
    grid = choose_grid(weight, ones(weight), book, 0.0)
    held = weights_of(book, grid, round_nearest(weight, grid, book))
    left = ((weight - held) ** 2).sum() / (weight**2).sum()
    assert len(np.unique(held[0, :, 0])) == 2
    assert left < (0.75 if sign == 0.0 else 0.35)


# --- feedback --------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", [BASE, UNEVEN, BASE.with_mapping("differential")])
def test_feedback_is_better_where_inputs_are_correlated(chip: Chip) -> None:
    book = codebook(chip)
    for seed in range(4):
        weight, moments = normal(seed, 1, 150, 12), correlated(seed, 150)
        grid = choose_grid(weight, ones(weight), book, 0.0)
        plain = weights_of(book, grid, round_nearest(weight, grid, book))
        better = weights_of(book, grid, round_with_feedback(weight, moments, grid, book))
        ratio = error_of(weight, moments, better).sum() / error_of(weight, moments, plain).sum()
        assert ratio < 0.6


def test_feedback_is_no_worse_on_average() -> None:
    book = codebook(BASE)
    plain, better = 0.0, 0.0
    for seed in range(30):
        inputs = normal(seed, 60, 25) * np.exp(normal(seed + 1, 25))
        moments = (inputs.T @ inputs / 60)[None]
        weight = normal(seed + 2, 1, 25, 6)
        grid = choose_grid(weight, np.einsum("gkk->gk", moments), book, 0.0)
        nearest_codes = round_nearest(weight, grid, book)
        codes = round_with_feedback(weight, moments, grid, book)
        plain += error_of(weight, moments, weights_of(book, grid, nearest_codes)).sum()
        better += error_of(weight, moments, weights_of(book, grid, codes)).sum()
    assert better < plain


def test_feedback_without_correlation_is_rounding_to_the_nearest() -> None:
    book = codebook(BASE)
    weight = normal(3, 2, 40, 5)
    grid = choose_grid(weight, ones(weight), book, 0.0)
    moments = np.stack([np.diag(np.arange(1.0, 41.0)), np.eye(40)])
    codes = round_with_feedback(weight, moments, grid, book)
    assert np.array_equal(codes, round_nearest(weight, grid, book))


def test_blocks_of_rows_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    book = codebook(BASE)
    weight, moments = normal(4, 1, 90, 3), correlated(4, 90)
    grid = choose_grid(weight, ones(weight), book, 0.0)
    results: list[Codes] = []
    for block in (1, 7, 90, 512):
        monkeypatch.setattr("pimc.passes.quantize.rounding._BLOCK", block)
        results.append(round_with_feedback(weight, moments, grid, book))
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("dead", [[3], list(range(10))])
def test_inputs_that_are_always_zero(dead: list[int]) -> None:
    book = codebook(BASE)
    weight, moments = normal(5, 1, 10, 4), correlated(5, 10)
    moments[:, dead, :] = 0.0
    moments[:, :, dead] = 0.0
    assert np.linalg.eigvalsh(damped(moments)).min() > 0
    grid = choose_grid(weight, ones(weight), book, 0.0)
    held = weights_of(book, grid, round_with_feedback(weight, moments, grid, book))
    assert np.abs(held - weight).max() < np.abs(weight).max()


@settings(max_examples=20)
@given(seeds)
def test_refitting_the_scale_lowers_the_error(seed: int) -> None:
    book = codebook(BASE.with_levels(4))
    weight, moments = normal(seed, 1, 30, 5), correlated(seed, 30)
    grid = choose_grid(weight, ones(weight), book, 0.0)
    codes = round_with_feedback(weight, moments, grid, book)
    after = refit_scale(weight, moments, grid, codes, book)
    steady = damped(moments)
    old = error_of(weight, steady, weights_of(book, grid, codes))
    new = error_of(weight, steady, weights_of(book, after, codes))
    assert (new <= old * (1 + 1e-9)).all()
    assert np.array_equal(after.zero, grid.zero)
    # No factor would serve better: the error is least here.
    for factor in (0.999, 1.001):
        beside = Grid(factor * after.scale, after.zero)
        assert (error_of(weight, steady, weights_of(book, beside, codes)) > new).all()


def test_refitting_undoes_a_scale_that_is_wrong() -> None:
    book = codebook(BASE)
    weight, moments = normal(0, 2, 30, 5) / 1000, np.tile(correlated(0, 30), (2, 1, 1))
    grid = choose_grid(weight, ones(weight), book, 0.0)
    codes = round_nearest(weight, grid, book)
    wanted = refit_scale(weight, moments, grid, codes, book)
    for factor in (0.2, 3.0):
        wrong = Grid(factor * grid.scale, grid.zero)
        found = refit_scale(weight, moments, wrong, codes, book)
        np.testing.assert_allclose(found.scale, wanted.scale)
    exact = weights_of(book, wanted, codes)
    np.testing.assert_allclose(
        refit_scale(1.7 * exact, moments, grid, codes, book).scale, 1.7 * wanted.scale
    )
