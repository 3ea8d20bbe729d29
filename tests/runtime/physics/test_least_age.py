"""The first instant that a chip has figures for, and the ends of its range."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die
from tests.runtime.physics.aged_dies import CMO, DAY, agrees, filled, now


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.5, 1.0])
def test_no_cell_of_cmo_is_read_as_younger_than_its_figures(seconds: float) -> None:
    """In the first second the spread is that after one: of the write and of the relaxation."""
    die = filled(Chip.load("cmo"), 12)
    die.age(seconds)
    target = die.attached().cell.g_levels_us[12]
    agrees(now(die) - target, 0.0, np.hypot(0.01129 * target + 0.0112, 0.412))
    lines = np.arange(200)
    relaxed = die.reference_held_us(lines) - die.cells.reference_us[0]
    agrees(relaxed.astype(np.float64), 0.0, 0.412)


def test_a_clock_starts_at_the_write_whatever_the_least_age() -> None:
    die, plain = filled(Chip.load("cmo"), 12), filled(CMO, 12)
    assert (die.clock_s, die.cells.age_s.max()) == (0.0, 0.0)
    written = now(die)
    die.age(1.0)
    assert np.array_equal(now(die), written)
    die.age(59.0)
    plain.age(60.0)
    assert np.array_equal(now(die), now(plain))
    die.program(np.arange(5), np.full(5, 12))
    assert set(die.cells.age_s.reshape(-1)[:5]) == {0.0}
    assert (now(die)[:5] != die.cells.g_us.reshape(-1)[:5]).all()


def test_cells_that_were_never_written_and_perfect_dies_have_no_age() -> None:
    chip = Chip.load("cmo").with_array(10, 10)
    die, perfect = Die.simulated(1), Die.ideal()
    for one in (die, perfect):
        one.attach(chip, 1)
    assert (now(die) == 9.0).all()
    perfect.program(np.arange(100), np.full(100, 31))
    assert (now(perfect) == 88.0).all()


@pytest.mark.parametrize("level", [0, 15, 31])
def test_what_time_has_moved_in_cmo_is_cut_off_at_the_ends_of_the_range(level: int) -> None:
    die, free = filled(Chip.load("cmo"), level), filled(CMO, level)
    for one in (die, free):
        one.age(DAY)
    cut = np.clip(now(free), 9.0, 88.0)
    assert np.array_equal(now(die), cut)
    assert (now(free) != cut).any() == (level != 15)
    # Right after the write nothing is: the fit cuts off what time has moved.
    assert np.array_equal(die.cells.g_us, free.cells.g_us)
    if level == 31:
        assert die.cells.g_us.max() > 88.0


def test_the_chip_reckons_with_the_relaxation_until_its_least_age() -> None:
    chip, g_us = Chip.load("cmo"), np.array([9.0, 40.0, 88.0])
    sigma_us = chip.cell.sigma.sigma_us(g_us)
    assert chip.redrawn_us(g_us) == pytest.approx(np.hypot(sigma_us, 0.412))
    assert chip.spread_us(g_us) == pytest.approx(np.hypot(sigma_us, 0.412))
    later = chip.with_(**{"retention.least_age_s": 60.0})
    relaxed = 0.042 * np.log(60.0) + 0.412
    assert later.redrawn_us(g_us) == pytest.approx(np.hypot(sigma_us, relaxed))
    varied = later.with_(**{"variation.cell_relative": 0.1})
    assert varied.spread_us(g_us) == pytest.approx(np.hypot(varied.redrawn_us(g_us), 0.1 * g_us))
    assert np.array_equal(CMO.spread_us(g_us), sigma_us)
