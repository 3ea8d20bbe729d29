"""Time: how far cells move, that they move once a write, and that a die remembers when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.errors import ChipError, DeviceError, UsageError
from pimc.files import container
from pimc.runtime.die.die import FORMAT, Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.retention import retention_of
from tests.runtime.physics.aged_dies import CELLS, CMO, DAY, ERRORS, agrees, filled, now

# --- what the shipped chips cite ---------------------------------------------------------------


def neurram_1s(x: float) -> float:
    return 0.348 + 16.030 * x - 43.853 * x**2 + 45.393 * x**3 - 16.815 * x**4


def neurram_1d(x: float) -> float:
    return 0.701 + 22.086 * x - 50.773 * x**2 + 47.095 * x**3 - 16.458 * x**4


@pytest.mark.parametrize("variable", ["g_us", "x"])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.0, 60.0, 2000.0, DAY, 30 * DAY])
def test_between_instants_variances_are_linear_in_the_logarithm_of_time(
    variable: str, seconds: float
) -> None:
    """Four of them; what is there at the first belongs to the write, and the last one lasts."""
    unit = 40.0 if variable == "x" else 1.0
    at_s = [1.0, 60.0, 3600.0, DAY]
    constant, slope = np.array([1.0, 1.3, 1.2, 2.5]), np.array([0.02, 0.05, 0.06, 0.1])
    coefficients = [[c, b * unit] for c, b in zip(constant, slope, strict=True)]
    keys = {"kind": "sigma_at", "at_s": at_s, "coefficients_us": coefficients}
    chip = Chip.default().with_(retention={**keys, "variable": variable})
    model = retention_of(chip)
    assert model is not None
    for target_us in (5.0, 20.0, 38.0):
        variance = (constant + slope * target_us) ** 2
        gained = np.interp(np.log(seconds), np.log(at_s), variance) - variance[0]
        given = np.array([target_us]), np.array([seconds])
        assert model.sigma_us(*given)[0] == pytest.approx(np.sqrt(gained), abs=1e-9)
        assert model.shift_us(*given)[0] == 0.0


@pytest.mark.parametrize("level", [9, 11, 13, 15])  # far enough from zero that none is cut there
def test_neurram_has_the_sigma_it_cites_at_both_instants(level: int) -> None:
    die = filled(Chip.load("neurram"), level)
    target = die.attached().cell.g_levels_us[level]
    x = target / 40
    agrees(now(die) - target, 0.0, neurram_1s(x))
    die.age(1.0)
    agrees(now(die) - target, 0.0, neurram_1s(x))
    die.age(DAY - 1)
    agrees(now(die) - target, 0.0, neurram_1d(x))
    # Beyond the last published instant nothing is added.
    held = now(die)
    die.age(99 * DAY)
    assert np.array_equal(now(die), held)


def test_neurram_mean_sigma_after_a_day_is_the_published_one() -> None:
    # The published mean over the range is 3.30 µS.
    sigmas = [neurram_1d(x) for x in np.linspace(1 / 40, 1, 1001)]
    assert np.mean(sigmas) == pytest.approx(3.30, abs=0.15)


def test_between_two_instants_variances_grow_with_the_logarithm() -> None:
    die = filled(Chip.load("neurram"), 15)
    die.age(DAY**0.25)
    sigma = np.sqrt(0.75 * neurram_1s(1.0) ** 2 + 0.25 * neurram_1d(1.0) ** 2)
    agrees(now(die) - 40, 0.0, sigma)


@pytest.mark.parametrize("seconds", [1.0, 60.0, DAY, 3e7])
@pytest.mark.parametrize("level", [3, 28])
def test_cmo_moves_as_published(level: int, seconds: float) -> None:
    die = filled(CMO, level)
    before = now(die)
    die.age(seconds)
    log = np.log(seconds)
    agrees(now(die) - before, -0.089 * log, 0.042 * log + 0.412)
    target = die.attached().cell.g_levels_us[level]
    total = np.hypot(0.01129 * target + 0.0112, 0.042 * log + 0.412)
    agrees(now(die) - target, -0.089 * log, total)


def test_in_the_first_second_the_mean_stays_and_the_spread_runs_out() -> None:
    die = filled(CMO, 20)
    before = now(die)
    die.age(1e-6)  # ln t = −13.8, where b ln t + c is negative
    assert np.array_equal(now(die), before)
    die.age(0.01 - 1e-6)
    agrees(now(die) - before, 0.0, 0.042 * np.log(0.01) + 0.412)


# --- one change a write ------------------------------------------------------------------------


def test_the_change_is_drawn_once_a_write() -> None:
    die = filled(CMO, 20)
    written = now(die)
    die.age(100.0)
    early = now(die) - written
    assert np.array_equal(now(die) - written, early)
    die.age(1e6)
    late = now(die) - written
    assert np.corrcoef(early, late)[0, 1] > 0.999
    # It has nothing to do with the error of the write itself.
    error = written - die.attached().cell.g_levels_us[20]
    assert abs(np.corrcoef(error, late)[0, 1]) < ERRORS / CELLS**0.5
    # Another write starts afresh, with another draw.
    cells = np.arange(CELLS)
    die.program(cells, np.full(CELLS, 20))
    again = now(die)
    die.age(100.0 + 1e6)
    assert abs(np.corrcoef(now(die) - again, late)[0, 1]) < ERRORS / CELLS**0.5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_only_the_time_since_the_write_counts(steps: list[int]) -> None:
    chip = CMO.with_array(4, 5)
    parts, whole = Die.simulated(3), Die.simulated(3)
    for die in (parts, whole):
        die.attach(chip, 1)
        die.program(np.arange(20), np.full(20, 9))
    for step in steps:
        parts.age(step)
    whole.age(sum(steps))
    assert parts.clock_s == whole.clock_s
    assert np.allclose(now(parts), now(whole), rtol=1e-6)


def test_each_cell_has_an_age_of_its_own() -> None:
    die = filled(CMO, 20)
    die.age(50.0)
    die.program(np.array([7]), np.array([20]))
    assert die.clock_s == 50.0
    fresh = die.cells.g_us.reshape(-1)[7]
    assert now(die)[7] == fresh
    die.age(25.0)
    ages = die.cells.age_s.reshape(-1)
    assert ages[7] == 25.0
    assert set(np.delete(ages, 7)) == {75.0}


def test_cells_that_hold_no_write_do_not_move() -> None:
    rates = {"faults.stuck_gmax_rate": 0.2, "faults.dead_row_rate": 0.1}
    chip = CMO.with_(**rates)
    die = Die.simulated(1)
    die.attach(chip.with_array(50, 40), 1)
    die.program(np.arange(1000), np.full(1000, 20))
    before = now(die)
    die.age(DAY)
    after, free = now(die), die.cells.stuck.reshape(-1) == Stuck.FREE
    written = np.arange(2000) < 1000
    assert np.array_equal(after[~(free & written)], before[~(free & written)])
    assert (after[free & written] != before[free & written]).mean() > 0.99
    perfect = Die.ideal()
    perfect.attach(chip.with_array(50, 40), 1)
    perfect.program(np.arange(2000), np.full(2000, 20))
    perfect.age(DAY)
    assert (now(perfect) == np.float32(chip.cell.g_levels_us[20])).all()


def test_a_chip_without_retention_does_not_change() -> None:
    die = filled(Chip.default(), 8)
    before = now(die)
    die.age(DAY)
    assert np.array_equal(now(die), before)


def test_no_cell_falls_below_zero() -> None:
    sigma = {"kind": "log", "log_shift_us": -1.0, "log_sigma_us": 0.0, "sigma_1s_us": 3.0}
    die = filled(Chip.default().with_(retention=sigma), 0)
    die.age(DAY)
    assert now(die).min() == 0.0


def test_the_reference_column_ages_since_the_die_was_made() -> None:
    chip = CMO.with_array(40_000, 1)
    die = Die.simulated(1)
    die.attach(chip, 1)
    lines = np.arange(40_000)
    before = die.reference_held_us(lines).astype(np.float64)
    assert np.array_equal(before, die.cells.reference_us[0].astype(np.float64))
    die.age(DAY)
    log = np.log(DAY)
    change = die.reference_held_us(lines) - before
    agrees(change, -0.089 * log, 0.042 * log + 0.412)
    # Arrays that are looked at later only belong to the same old die.
    die.attach(chip, 2)
    other = die.reference_held_us(lines + 40_000) - die.cells.reference_us[1]
    agrees(other.astype(np.float64), -0.089 * log, 0.042 * log + 0.412)
    assert abs(np.corrcoef(change, other)[0, 1]) < ERRORS / 200


# --- a device, a file --------------------------------------------------------------------------


def test_a_device_reads_what_the_cells_hold_by_then() -> None:
    chip = CMO.with_(**{"read_noise.log_us": 0.0}).with_array(8, 4)
    die = Die.simulated(1)
    device = SimDevice(die, chip, 1, converters=False)
    device.program(np.arange(32), np.full(32, 20, np.uint16))
    region = Region("w", np.arange(32).reshape(1, 8, 4), 1.0, True)
    unit = torch.eye(8)[:, None, :, None]
    for _ in range(2):
        cells = die.held_us(np.arange(32)).reshape(8, 4)
        lines = die.reference_held_us(np.arange(8))[:, None]
        read = device.read(region, unit)[:, 0, :, 0].numpy()
        assert np.allclose(read, cells - lines, atol=1e-4)
        die.age(DAY)


def test_a_die_file_keeps_the_time(tmp_path: Path) -> None:
    die = filled(Chip.load("neurram"), 12)
    die.age(3600.0)
    die.program(np.arange(10), np.full(10, 3))
    die.age(60.0)
    die.save(tmp_path / "x.die")
    loaded = Die.load(tmp_path / "x.die")
    assert loaded.clock_s == 3660.0
    assert np.array_equal(now(loaded), now(die))
    lines = np.arange(200)
    assert np.array_equal(loaded.reference_held_us(lines), die.reference_held_us(lines))


def test_a_file_from_before_dies_aged_is_a_die_just_written(tmp_path: Path) -> None:
    die = filled(Chip.load("neurram"), 12)
    tensors = {name: value for name, value in vars(die.cells).items() if name != "age_s"}
    manifest = {"seed": 1, "perfect": False, "chip": die.attached().to_dict()}
    container.save(tmp_path / "old.die", *container.seal(FORMAT, 1, manifest, tensors))
    loaded = Die.load(tmp_path / "old.die")
    assert loaded.clock_s == 0.0
    assert np.array_equal(now(loaded), now(die))
    loaded.age(DAY)
    die.age(DAY)
    assert np.array_equal(now(loaded), now(die))


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e13])
def test_impossible_times_are_refused(seconds: float) -> None:
    die = filled(CMO, 3)
    with pytest.raises(UsageError, match="does not age by"):
        die.age(seconds)
    assert die.clock_s == 0.0
    with pytest.raises(DeviceError, match="belongs to no chip"):
        Die.simulated(1).age(1.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "log", "log_shift_us": 1.0}, "log needs log_shift_us, log_sigma_us and"),
        ({"kind": "none", "at_s": [1.0]}, "keys of another kind of retention"),
        ({"kind": "sigma_at", "at_s": [1.0], "coefficients_us": [[1.0]]}, "two instants"),
        (
            {"kind": "sigma_at", "at_s": [1.0, 2.0], "coefficients_us": [[1.0]]},
            "one list for each",
        ),
        (
            {"kind": "sigma_at", "at_s": [2.0, 1.0], "coefficients_us": [[1.0], [2.0]]},
            r"retention\.at_s: must be strictly increasing",
        ),
        (
            {"kind": "sigma_at", "at_s": [1.0, 2.0], "coefficients_us": [[1.0], []]},
            "must hold no empty list",
        ),
        (
            {"kind": "sigma_at", "at_s": [1.0, 2.0], "coefficients_us": [1.0, 2.0]},
            "must be a list of lists of numbers",
        ),
        (
            {"kind": "sigma_at", "at_s": [1.0, 2.0], "coefficients_us": [[1.0], [float("nan")]]},
            "must be a list of lists of numbers",
        ),
        ({"kind": "sigma_at", "at_s": [0.0, 2.0]}, r"at_s: must be a list of numbers above 0"),
        ({"kind": "none", "within_range": True}, "keys of another kind of retention"),
        (
            {
                "kind": "sigma_at",
                "at_s": [1.0, 2.0],
                "coefficients_us": [[1.0], [2.0]],
                "least_age_s": 1.0,
            },
            "keys of another kind of retention",
        ),
        ({"kind": "log", "least_age_s": 0.0}, r"least_age_s: must be a number above 0"),
    ],
)
def test_impossible_retention_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        Chip.default().with_(retention=table)


def test_chips_with_retention_come_back_from_their_tables() -> None:
    for name in ("neurram", "cmo"):
        chip = Chip.load(name)
        assert chip.retention.kind != "none"
        assert Chip.from_dict(chip.to_dict()) == chip
