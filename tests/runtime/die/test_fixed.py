"""Fixed-point banks: whole numbers as fine as 16 and 32 bits let them be, near what they stand for.

That no sum overflows is tested where they are read (``tests/runtime/read/fused``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip
from pimc.runtime.die.bank import Bank
from pimc.runtime.die.fixed import (
    LARGEST_CODE,
    Drives,
    Fixed,
    FixedBank,
    FixedColumns,
    Squares,
    fits,
)

RNG = np.random.default_rng(0)
BITS = [2, 6, 8, 9, 10]
CASES: list[tuple[dict[str, Any], bool]] = [
    ({"dac.bits": bits, "dac.mode": mode}, signed)
    for bits in BITS
    for mode in ("parallel", "bit_serial", "pulse_count")
    for signed in (True, False)
]


def bank_of(rows: int = 64, noisy: bool = True, size_us: float = 40.0) -> Bank:
    def values(*shape: int) -> np.ndarray:
        return (size_us * RNG.random(shape)).astype(np.float32)

    return Bank(
        values(2, rows, 5) - np.float32(size_us / 2),
        values(2, rows, 5) if noisy else None,
        values(2, rows, 1) if noisy else None,
        (),
        np.zeros((2, 5), np.int64),
        np.arange(2 * rows).reshape(2, rows, 1),
        2,
    )


@pytest.mark.parametrize(("rows", "largest"), [(1, 1), (64, 127), (128, 255), (1000, 1023)])
def test_numbers_are_as_fine_as_they_can_be(rows: int, largest: int) -> None:
    """Halved, the quantum would break 16 bits or, of the longest sum, 32."""
    values = RNG.uniform(-40, 40, (2, rows, 5))
    found = Fixed.nearest(values, largest)
    finer = np.rint(values / (0.5 * found.quantum))
    beyond = np.abs(finer).max() > 2**15 or np.abs(finer).sum(axis=1).max() * largest > 2**31 * 0.9
    assert beyond
    np.testing.assert_allclose(found.values, values, atol=0.51 * found.quantum)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize("rows", [1, 64, 1000, 70_000])
def test_variances_are_as_fine_as_they_can_be(rows: int) -> None:
    """Halved, a column's quantum would break 8 bits or, of the longest sum, 32."""
    values = RNG.uniform(0, 40, (2, rows, 3)) * [1.0, 1e-3, 0.0]
    values[:, 0, 1] = 1.0
    found = FixedColumns.carried(values, 255, 126)
    # Each is rounded by what its neighbours left: at most one unit off.
    assert (np.abs(found.values - values) <= 1.01 * found.quantum[:, None]).all()
    assert 0 <= found.whole.min() <= found.whole.max() <= 127
    sums = found.whole.astype(np.int64).sum(axis=1) * 255
    assert sums.max() < 2**31
    beyond = (found.whole.max(axis=1) > 63) | (sums > 2**30 * 0.9)
    assert beyond[:, :2].all()
    assert not found.whole[:, :, 2].any()


def test_nothing_is_held_as_nothing() -> None:
    for found in (
        Fixed.nearest(np.zeros((1, 4, 2)), 255, 2.5),
        FixedColumns.carried(np.zeros((1, 4, 2)), 9, 126),
    ):
        assert not found.whole.any()
        assert not found.values.any()
        assert np.all(found.quantum > 0)


@pytest.mark.parametrize(("keys", "signed"), CASES)
def test_a_bank_stands_for_its_currents_and_for_the_noise_of_its_squares(
    keys: dict[str, Any], signed: bool
) -> None:
    chip = Chip.default().with_(**keys)
    bank = bank_of()
    found = FixedBank.of(bank, chip, Drives.of(chip, signed))
    rounded = found.rounded(bank)
    np.testing.assert_allclose(rounded.g_us, bank.g_us, atol=0.51 * found.current.quantum)
    assert found.variance is not None
    assert found.common is not None
    assert rounded.variance is not None
    assert rounded.reference_variance is not None
    for fixed, got, wanted in (
        (found.variance, rounded.variance, bank.variance),
        (found.common, rounded.reference_variance, bank.reference_variance),
    ):
        assert wanted is not None
        np.testing.assert_allclose(got.sum(axis=1), wanted.sum(axis=1), rtol=1e-3)
        # The noise of a column whose wordlines are all driven by the largest code.
        high = 1 if chip.dac.mode == "bit_serial" else dac_limits(chip, signed)[1]
        squares = found.squares
        units = int(high**2 / squares.unit + 0.5)
        assert units < 2**8
        rest = (high**2 / squares.unit - units) // squares.rest_unit
        assert -(2**7) <= rest < 2**7
        variance = fixed.whole.astype(np.int64).sum(axis=1) * units
        assert variance.max() < 2**31
        # As all rows are driven alike, what is left of squares counts by the column's sum.
        real = fixed.whole.sum(axis=1) * (units + rest * squares.rest_unit)
        real = real * fixed.quantum * squares.unit
        np.testing.assert_allclose(real, wanted.sum(axis=1) * high**2, rtol=1e-3)
        # No coarser than the bits ask for: a finer unit of squares would not fit.
        held = high if chip.dac.mode == "pulse_count" else high**2
        assert units == held or 2 * units >= 2**8


@pytest.mark.parametrize(("largest", "wanted"), [(255, 0.01), (40, 0.04), (8, 0.15)])
@pytest.mark.parametrize("rows", [64, 128])
def test_variances_of_driven_columns_are_near(rows: int, largest: int, wanted: float) -> None:
    """However weak the drive: what rounding leaves of squares is not lost."""
    rng = np.random.default_rng(rows)
    chip = Chip.default()
    bank, shape = bank_of(rows), (2, rows, 400)
    # Conductances around the middle, as weights have them; noise is a share of each.
    g_us = np.clip(rng.normal(20.0, 6.0, (2, rows, 5)), 1.0, 40.0)
    bank = replace(bank, variance=np.square(0.01 * g_us).astype(np.float32))
    codes = np.abs(rng.normal(0, largest / 3, shape)).clip(0, largest).round()
    codes *= rng.random(shape) < 0.5
    assert bank.variance is not None
    exact = np.einsum("brc,brp->bcp", bank.variance.astype(np.float64), np.square(codes))
    fixed = FixedBank.of(bank, chip, Drives.of(chip, False))
    assert fixed.variance is not None
    assert fixed.typical is not None
    squares = fixed.squares
    assert squares.unit == 256.0
    whole = np.floor((np.square(codes) + 128) / 256)
    rest = np.square(codes) - 256 * whole
    found = np.einsum("brc,brp->bcp", fixed.variance.values.astype(np.float64), 256 * whole)
    together = np.einsum("br,brp->bp", fixed.typical.rows[:, :, 0].astype(np.float64), rest)
    found += (fixed.typical.columns * fixed.variance.quantum)[:, :, None] * together[:, None]
    apart = found / exact - 1
    assert np.sqrt(np.mean(apart**2)) < wanted
    assert abs(found.sum() / exact.sum() - 1) < 2e-3


def test_without_noise_there_is_none_in_fixed_point() -> None:
    bank = bank_of(noisy=False)
    found = FixedBank.of(bank, Chip.default(), Drives.of(Chip.default(), True))
    assert (found.variance, found.common) == (None, None)
    assert found.rounded(bank).variance is None
    assert found.rounded(bank).reference_variance is None


@pytest.mark.parametrize(("levels", "spacing"), [(16, "linear"), (5, "table")])
def test_steps_of_evenly_spaced_levels_are_exact(levels: int, spacing: str) -> None:
    keys: dict[str, Any] = {"cell.levels": levels, "cell.spacing": spacing}
    if spacing == "table":
        keys["cell.g_levels_us"] = [2.0, 3.0, 7.0, 18.0, 40.0]
    chip = Chip.default().with_(**keys)
    levels_us = np.asarray(chip.cell.g_levels_us)
    held = levels_us[RNG.integers(0, levels, (1, 60, 4))] - levels_us[levels // 2]
    lines = np.arange(60).reshape(1, 60, 1)
    bank = Bank(held.astype(np.float32), None, None, (), np.zeros((1, 4), np.int64), lines, 1)
    current = FixedBank.of(bank, chip, Drives.of(chip, True)).current
    if spacing == "linear":
        units = (levels_us[1] - levels_us[0]) / current.quantum
        assert units == pytest.approx(round(units), abs=1e-6)
        assert np.array_equal(current.whole % round(units), np.zeros(held.shape))


@pytest.mark.parametrize(
    ("bits", "signed"), [(2, True), (4, False), (8, False), (8, True), (10, False)]
)
def test_bent_drives_are_as_fine_as_their_squares_allow(bits: int, signed: bool) -> None:
    chip = Chip.default().with_(**{"cell.iv_alpha": 3.0, "dac.bits": bits})
    drives, high = Drives.of(chip, signed), dac_limits(chip, signed)[1]
    exact = high * np.sinh(3.0 * np.arange(high + 1) / high) / np.sinh(3.0)
    np.testing.assert_allclose(drives.bent * drives.unit, exact, atol=drives.unit / 2)
    assert drives.bent[0] == 0
    assert drives.bent[-1] == drives.largest == high / drives.unit
    squares = Squares.of(chip, drives)
    assert squares.shift <= 16
    assert (drives.largest**2 + (1 << squares.shift >> 1)) >> squares.shift < 2**8
    assert squares.unit == drives.unit**2 * 2**squares.shift


@pytest.mark.parametrize("keys", [{"cell.iv_alpha": 0.0}, {"dac.mode": "bit_serial"}])
def test_other_drives_are_the_codes(keys: dict[str, Any]) -> None:
    chip = Chip.default().with_(**{"cell.iv_alpha": 3.0} | keys)
    assert not len(Drives.of(chip, True).bent)
    assert not len(Drives.of(chip.with_(**{"cell.iv_alpha": 3.0}), True, perfect=True).bent)


def test_what_fits_is_whole_codes() -> None:
    chip = Chip.default()
    assert fits(chip, True)
    assert fits(chip.with_(**{"cell.iv_alpha": 1.0}), True)
    ten, eleven = (chip.with_(**{"dac.bits": bits}) for bits in (10, 11))
    assert dac_limits(ten, False)[1] == LARGEST_CODE == dac_limits(eleven, True)[1]
    assert fits(ten, False)
    assert fits(eleven, True)
    assert not fits(eleven, False)


def test_blocks_are_rounded_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    chip, bank = Chip.default(), bank_of()
    bank.g_us[0] *= 3.0
    whole = FixedBank.of(bank, chip, Drives.of(chip, True))
    monkeypatch.setattr("pimc.runtime.die.fixed._AT_ONCE", 1)
    parts = FixedBank.of(bank, chip, Drives.of(chip, True))
    assert whole.typical is not None
    assert parts.typical is not None
    assert np.array_equal(parts.typical.rows, whole.typical.rows)
    assert np.array_equal(parts.typical.columns, whole.typical.columns)
    for one, other in ((parts, whole), (whole, parts)):
        assert one.current.quantum == other.current.quantum
        for name in ("g_us", "variance", "reference_variance"):
            values = (getattr(fixed.rounded(bank), name) for fixed in (one, other))
            assert np.array_equal(*values), name
