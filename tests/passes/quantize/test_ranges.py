"""Converter ranges: no worse than the full range, and sound where there is nothing to fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.converters import (
    adc_limits,
    bit_planes,
    dac_limits,
    plane_weights,
)
from pimc.chip.design import Chip
from pimc.passes.quantize.ranges import adc_range, input_scale, synthetic_codes
from pimc.passes.quantize.rounding import (
    Codes,
    Grid,
    choose_grid,
    round_nearest,
)

Array64 = npt.NDArray[np.float64]
#: Without programming errors, so that a test can know the currents.
EXACT = Chip.default().with_sigma(0.0).with_array(16, 16)


def loss(values: Array64, step: float, low: int, high: int) -> float:
    held = np.clip(np.rint(values / step), low, high) * step
    return float(((held - values) ** 2).sum())


# --- inputs ----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.booleans(), st.floats(1e-6, 1e6))
def test_input_range_is_no_worse_than_the_largest_value(
    seed: int, bits: int, signed: bool, unit: float
) -> None:
    values = np.random.default_rng(seed).standard_normal((50, 8)) ** 3 * unit
    values = values if signed else np.abs(values)
    low, high = (-(2**bits - 1), 2**bits - 1) if signed else (0, 2**bits - 1)
    step = input_scale(values, low, high)
    assert step == float(np.float32(step)) > 0
    largest = float(np.abs(values).max()) / high
    assert loss(values, step, low, high) <= loss(values, largest, low, high) * (1 + 1e-5)


def test_a_rare_outlier_is_clipped() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (1000, 10))
    values[0, 0] = 8.0
    assert input_scale(values, -7, 7) < 0.5 * 8.0 / 7


@pytest.mark.parametrize("values", [np.zeros((4, 3)), np.zeros((0, 3))])
def test_no_input_gives_a_range_all_the_same(values: Array64) -> None:
    assert input_scale(values, 0, 255) == 1.0


def test_a_range_follows_the_unit() -> None:
    values = np.random.default_rng(1).standard_normal((100, 9))
    assert input_scale(values * 1024, -127, 127) == 1024 * input_scale(values, -127, 127)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dac", [{}, {"dac.signed": False}, {"dac.bits": 2}])
def test_synthetic_inputs_are_codes_at_full_scale(signed: bool, dac: dict[str, object]) -> None:
    chip = EXACT.with_(**dac)
    low, high = dac_limits(chip, signed)
    codes = synthetic_codes(dac_limits(chip, signed), 20, 3, np.random.default_rng(0))
    assert codes.shape[::2] == (3, 20)
    assert np.array_equal(codes, np.rint(codes))
    assert low <= codes.min()
    assert (np.abs(codes).max(axis=2) == high).all()
    assert (codes.min() < 0) == signed


# --- ADC -------------------------------------------------------------------------------------


def layer(chip: Chip, shape: tuple[int, int, int]) -> tuple[Codebook, Codes, Grid]:
    book = codebook(chip)
    weight = np.random.default_rng(2).standard_normal(shape)
    grid = choose_grid(weight, np.ones(shape[:2]), book, 0.0)
    return book, round_nearest(weight, grid, book), grid


def currents_of(chip: Chip, book: Codebook, codes: Codes, vectors: Array64) -> Array64:
    """Every tile's column currents, (tiles, vectors, columns), after the reference."""
    groups, rows, _ = codes.shape
    cells = np.asarray(chip.cell.g_levels_us)[book.levels[codes]].reshape(groups, rows, -1)
    cells = cells - book.reference_us
    height = chip.array.rows
    tiles = [
        vectors[group, :, start : start + height] @ cells[group, start : start + height]
        for group in range(groups)
        for start in range(0, rows, height)
    ]
    return np.stack(tiles)


VARIANTS: list[tuple[str, str]] = [
    ("offset", "reference"),
    ("offset", "digital"),
    ("differential", "reference"),
    ("sliced", "digital"),
]


def variant(kind: str, pedestal: str) -> Chip:
    return EXACT.with_(**{"mapping.kind": kind, "mapping.pedestal": pedestal, "cell.levels": 4})


@pytest.mark.parametrize(("kind", "pedestal"), VARIANTS)
@pytest.mark.parametrize("signed", [False, True])
def test_adc_range_is_no_worse_than_the_largest_current(
    kind: str, pedestal: str, signed: bool
) -> None:
    chip = variant(kind, pedestal)
    rng = np.random.default_rng(0)
    book, codes, grid = layer(chip, (2, 40, 5))
    vectors = synthetic_codes(dac_limits(chip, signed), 40, 2, rng)
    lsb = adc_range(chip, book, codes, grid, vectors, signed, rng).lsb_us
    currents = currents_of(chip, book, codes, vectors)
    # What a column's error does to the output: factor of its plane times scale of its weight.
    weight = np.repeat(grid.scale, book.planes, axis=1) * np.tile(book.coefficients, 5)
    weight = np.repeat(weight, currents.shape[0] // 2, axis=0)[:, None, :]
    low, high = adc_limits(chip, signed)

    def harm(step: float) -> float:
        error = np.clip(np.rint(currents / step), low, high) * step - currents
        return float(((weight * error) ** 2).sum())

    full = float(np.abs(currents).max()) / high
    assert 0 < lsb <= full * (1 + 1e-6)
    assert harm(lsb) <= harm(full) * (1 + 1e-5)


@pytest.mark.parametrize("by", ["layer", "column"])
@pytest.mark.parametrize("method", ["mse", "percentile"])
@pytest.mark.parametrize("unit", [2.0**-8, 2.0**6])
def test_adc_range_follows_the_unit_of_the_currents(by: str, method: str, unit: float) -> None:
    """Inputs a hundred times weaker take ranges a hundred times finer, of every column."""
    chip = Chip.default().with_array(16, 16)
    chip = chip.with_(**{"adc.range": by, "adc.range_method": method})
    book, codes, grid = layer(chip, (2, 40, 5))
    vectors = synthetic_codes(dac_limits(chip, True), 40, 2, np.random.default_rng(1))
    found, scaled = (
        adc_range(chip, book, codes, grid, factor * vectors, True, np.random.default_rng(0))
        for factor in (1.0, unit)
    )
    assert scaled.lsb_us == pytest.approx(unit * found.lsb_us, rel=1e-6)
    if by == "column":
        assert found.column_lsb_us is not None
        assert scaled.column_lsb_us is not None
        np.testing.assert_allclose(scaled.column_lsb_us, unit * found.column_lsb_us, rtol=1e-6)


def test_one_range_for_all_columns_serves_those_whose_errors_count_most() -> None:
    """Few strong currents with small scales, and weak ones with large: the weak set the range."""
    chip = EXACT.with_(**{"adc.bits": 5})
    book, codes, grid = layer(chip, (1, 40, 12))
    rng = np.random.default_rng(3)
    codes[:, :, :10] = book.middle + rng.integers(-1, 2, (1, 40, 10))
    vectors = synthetic_codes(dac_limits(chip, True), 40, 1, np.random.default_rng(1))
    currents, (low, high) = currents_of(chip, book, codes, vectors), adc_limits(chip, True)

    def harm(step: float, scale: Array64) -> float:
        error = np.clip(np.rint(currents / step), low, high) * step - currents
        return float(((scale * error) ** 2).sum())

    found = {}
    for ratio in (1.0, 100.0):
        scale = np.where(np.arange(12) < 10, ratio, 1.0)[None]
        own = Grid(scale, grid.zero)
        lsb = found[ratio] = adc_range(chip, book, codes, own, vectors, True, rng).lsb_us
        for factor in (0.5, 0.7, 0.8, 1.25, 1.4, 2.0):
            assert harm(lsb, scale) < harm(factor * lsb, scale)
    assert found[100.0] < 0.6 * found[1.0]


def test_programming_errors_widen_the_range() -> None:
    """The zero cells of a dead layer conduct nothing after the reference; their errors do."""
    chip = EXACT.with_sigma(0.1)
    book = codebook(chip)
    codes = np.full((1, 8, 3), book.middle, np.uint16)
    grid = Grid(np.ones((1, 3)), np.full((1, 3), book.middle, np.uint16))
    vectors = np.full((1, 4, 8), 100.0)
    exact = adc_range(EXACT, book, codes, grid, vectors, True, np.random.default_rng(0)).lsb_us
    assert exact == 1.0  # no current at all
    noisy = adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0)).lsb_us
    sigma = 0.1 * 38.0 * 100.0 * 8**0.5
    assert 0.1 * sigma < noisy * 127 < 4 * sigma


def test_the_same_seed_gives_the_same_range() -> None:
    chip = Chip.default()
    book, codes, grid = layer(chip, (1, 40, 5))
    vectors = synthetic_codes(dac_limits(chip, True), 40, 1, np.random.default_rng(3))
    first, second = (
        adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(4)).lsb_us
        for _ in range(2)
    )
    assert first == second


# --- other ranges ----------------------------------------------------------------------------


def seen_by_column(chip: Chip, book: Codebook, codes: Codes, vectors: Array64) -> Array64:
    """(groups, reads, columns): the currents of all row blocks of each column."""
    tiles = currents_of(chip, book, codes, vectors)
    groups, blocks = len(codes), len(tiles) // len(codes)
    return tiles.reshape(groups, blocks * vectors.shape[1], -1)


@pytest.mark.parametrize("method", ["mse", "percentile"])
def test_a_range_of_its_own_serves_a_column_better(method: str) -> None:
    keys = {"adc.range_method": method, "adc.bits": 5}
    layers, columns = (EXACT.with_(**{"adc.range": r}, **keys) for r in ("layer", "column"))
    book, codes, grid = layer(layers, (2, 40, 5))
    vectors = synthetic_codes(dac_limits(layers, True), 40, 2, np.random.default_rng(1))
    one, own = (
        adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0))
        for chip in (layers, columns)
    )
    assert one.column_lsb_us is None
    assert own.column_lsb_us is not None
    assert own.column_lsb_us.shape == (2, 5)
    assert own.lsb_us == own.column_lsb_us.max()
    low, high = adc_limits(layers, True)
    currents = seen_by_column(layers, book, codes, vectors)
    harm = [
        np.square(np.clip(np.rint(currents / s), low, high) * s - currents).sum()
        for s in (one.lsb_us, own.column_lsb_us[:, None, :])
    ]
    assert harm[1] < harm[0]


def test_a_percentile_lies_where_the_chip_says() -> None:
    chip = EXACT.with_(**{"adc.range_method": "percentile", "adc.percentile": 90.0})
    book, codes, grid = layer(chip, (2, 40, 5))
    vectors = synthetic_codes(dac_limits(chip, True), 40, 2, np.random.default_rng(1))
    lsb = adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0)).lsb_us
    currents = np.abs(currents_of(chip, book, codes, vectors))
    inside = (currents <= lsb * adc_limits(chip, True)[1]).mean()
    assert inside == pytest.approx(0.9, abs=2 / currents.size)


def test_a_fixed_range_asks_no_data() -> None:
    chip = EXACT.with_(**{"adc.range": "fixed", "adc.full_scale_us": 100.0})
    book, codes, grid = layer(chip, (1, 40, 5))
    for scale in (1.0, 100.0):
        vectors = np.full((1, 4, 40), scale)
        found = adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0))
        assert found.lsb_us == pytest.approx(100.0 * 127 / 127)
        assert found.column_lsb_us is None


def test_bit_serial_ranges_are_fitted_to_bit_planes() -> None:
    """What the ADC sees is one plane at a time, far below the current of whole codes."""
    parallel, serial = EXACT, EXACT.with_(**{"dac.mode": "bit_serial"})
    book, codes, grid = layer(parallel, (1, 40, 5))
    vectors = synthetic_codes(dac_limits(parallel, True), 40, 1, np.random.default_rng(1))
    lsb = [
        adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0)).lsb_us
        for chip in (parallel, serial)
    ]
    planes = bit_planes(vectors, plane_weights(serial, True))
    largest = max(np.abs(currents_of(serial, book, codes, plane)).max() for plane in planes)
    assert 0.3 * largest < lsb[1] * adc_limits(serial, True)[1] <= largest * (1 + 1e-6)
    assert lsb[1] < lsb[0] / 10


def test_a_column_without_current_takes_the_coarsest_range() -> None:
    chip = EXACT.with_(**{"adc.range": "column"})
    book, codes, grid = layer(chip, (1, 20, 3))
    codes[:, :, 1] = book.middle
    vectors = synthetic_codes(dac_limits(chip, True), 20, 1, np.random.default_rng(1))
    found = adc_range(chip, book, codes, grid, vectors, True, np.random.default_rng(0))
    assert found.column_lsb_us is not None
    assert found.column_lsb_us[0, 1] == found.lsb_us
