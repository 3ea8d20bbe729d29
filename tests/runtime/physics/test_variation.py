"""Device-to-device variation: who shares it with whom, and that no write redraws it."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.runtime.die.die import Die

ERRORS = 4.5
CELL, ROW, COL = 0.05, 0.03, 0.04
#: Enough independent arrays that a mean over them has a known error.
ARRAYS, ROWS, COLS = 400, 16, 16
EXACT = Chip.default().with_array(ROWS, COLS).with_sigma(0.0)
VARIED = EXACT.with_(variation={"cell_relative": CELL, "row_relative": ROW, "col_relative": COL})


def filled(chip: Chip, level: int = 12, seed: int = 1) -> Die:
    die = Die.simulated(seed)
    die.attach(chip, ARRAYS)
    size = die.cells.level.size
    die.program(np.arange(size), np.full(size, level))
    return die


def deviation(die: Die, level: int = 12) -> np.ndarray:
    """(arrays, rows, cols) relative deviation from the target."""
    return die.cells.g_us.astype(np.float64) / die.attached().cell.g_levels_us[level] - 1


def agrees(per_array: np.ndarray, expected: float) -> None:
    """Arrays are independent, so the mean over them has this standard error."""
    assert per_array.shape == (ARRAYS,)
    error = per_array.std(ddof=1) / ARRAYS**0.5
    assert abs(per_array.mean() - expected) < ERRORS * error


def test_variance_and_covariance_are_those_of_the_shares() -> None:
    d = deviation(filled(VARIED))
    agrees(d.mean(axis=(1, 2)), 0.0)
    agrees((d**2).mean(axis=(1, 2)), CELL**2 + ROW**2 + COL**2)
    # Cells of one row have its share in common, cells of one column theirs, others nothing.
    agrees((d[:, :, :-1] * d[:, :, 1:]).mean(axis=(1, 2)), ROW**2)
    agrees((d[:, :, :-5] * d[:, :, 5:]).mean(axis=(1, 2)), ROW**2)
    agrees((d[:, :-1] * d[:, 1:]).mean(axis=(1, 2)), COL**2)
    agrees((d[:, :-1, :-1] * d[:, 1:, 1:]).mean(axis=(1, 2)), 0.0)
    agrees((d * np.roll(d, 1, axis=0)).mean(axis=(1, 2)), 0.0)


@pytest.mark.parametrize(
    ("share", "same"), [("cell_relative", None), ("row_relative", 2), ("col_relative", 1)]
)
def test_each_share_alone(share: str, same: int | None) -> None:
    d = deviation(filled(EXACT.with_(**{f"variation.{share}": 0.05})))
    agrees((d**2).mean(axis=(1, 2)), 0.05**2)
    if same is not None:
        assert np.ptp(d, axis=same).max() < 1e-6
    assert len(np.unique(d)) > ARRAYS * 10


def test_the_reference_column_shares_its_rows() -> None:
    die = filled(VARIED)
    d, middle = deviation(die), VARIED.cell.g_levels_us[8]
    reference = die.cells.reference_us.astype(np.float64) / middle - 1
    agrees((reference**2).mean(axis=1), CELL**2 + ROW**2 + COL**2)
    agrees((reference[:, :, None] * d).mean(axis=(1, 2)), ROW**2)
    agrees((reference[:, :-1] * reference[:, 1:]).mean(axis=1), COL**2)


def test_no_write_redraws_it() -> None:
    die = filled(VARIED)
    first = deviation(die)
    cells = np.arange(die.cells.level.size)
    die.program(cells, np.full(len(cells), 5))
    assert np.allclose(deviation(die, 5), first, atol=1e-6)
    assert not np.allclose(deviation(filled(VARIED, seed=2)), first, atol=1e-2)


def test_it_adds_to_the_error_of_a_write() -> None:
    chip = VARIED.with_sigma(0.05)
    die, quiet = filled(chip), filled(VARIED)
    target = chip.cell.g_levels_us[12]
    error = die.cells.g_us / (1 + deviation(quiet)) - target
    agrees((error**2).mean(axis=(1, 2)), 1.9**2)
    agrees((error * deviation(quiet)).mean(axis=(1, 2)), 0.0)
    # What is expected of a cell of any die: both.
    expected = np.sqrt(1.9**2 + (CELL**2 + ROW**2 + COL**2) * target**2)
    assert chip.spread_us(target) == pytest.approx(expected)
    plain = EXACT.with_sigma(0.05)
    assert np.array_equal(plain.spread_us([2.0, 40.0]), plain.cell.sigma.sigma_us([2.0, 40.0]))


def test_stuck_and_perfect_cells_have_none() -> None:
    die = Die.ideal()
    die.attach(VARIED, 1)
    die.program(np.arange(256), np.full(256, 12))
    assert np.allclose(deviation(die), 0, atol=1e-6)
    stuck = filled(VARIED.with_(**{"faults.stuck_gmax_rate": 1.0}))
    assert (stuck.cells.g_us == 40.0).all()


def test_shares_beyond_the_whole_are_refused() -> None:
    with pytest.raises(ChipError, match=r"variation\.row_relative: must be a number, 0 to 1"):
        EXACT.with_(**{"variation.row_relative": 1.5})
