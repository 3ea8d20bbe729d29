"""Means over a chip's statistics against dies that were drawn, written and aged."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.runtime.physics.mean_drift import level_drift
from tests.runtime.physics.aged_dies import CELLS, DAY, filled, now

YEAR = 31_557_600.0


@pytest.mark.parametrize("name", ["cmo", "neurram"])
@pytest.mark.parametrize("level", [0, 1, 7, 15])
def test_cells_hold_on_average_what_is_said(name: str, level: int) -> None:
    chip = Chip.load(name)
    drift = level_drift(chip, (0.0, DAY, YEAR))
    for number, age_s in enumerate((0.0, DAY, YEAR)):
        die = filled(chip, level)
        die.age(age_s)
        held = now(die)
        sigma = drift.variance[number, level] ** 0.5
        assert abs(held.mean() - drift.mean_us[number, level]) < 0.03 * sigma
        assert held.std() == pytest.approx(sigma, rel=0.06)


def test_reference_cells_drift_too() -> None:
    chip = Chip.load("cmo").with_array(200, CELLS // 200)
    drift = level_drift(chip, (0.0, YEAR))
    die = filled(chip, 3, arrays=40)
    die.age(YEAR)
    held = die.reference_held_us(np.arange(40 * 200)).astype(np.float64)
    assert held.mean() == pytest.approx(drift.reference_us[1], abs=0.06)
    assert held.std() == pytest.approx(drift.reference_variance[1] ** 0.5, rel=0.05)
    digital = level_drift(chip.with_(**{"mapping.pedestal": "digital"}), (0.0, YEAR))
    assert not digital.reference_us.any()
    np.testing.assert_array_equal(digital.mean_us, drift.mean_us)


def test_a_chip_without_retention_holds_what_was_written() -> None:
    chip = Chip.default()
    drift = level_drift(chip, (0.0, YEAR))
    np.testing.assert_array_equal(drift.mean_us[0], drift.mean_us[1])
    # In the middle of the range nothing is cut off, so the mean is the target.
    assert drift.mean_us[0, 8] == pytest.approx(chip.cell.g_levels_us[8], rel=1e-9)
