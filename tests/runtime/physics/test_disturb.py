"""Reads move the cells of their wordlines, by the formula, and the die remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.runtime.die.bank import bank_of
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.disturb import PARTS, disturbed_us, disturbs, stress_of, stress_table

#: At the read voltage of 0.2 V, τ = 1 ms · exp(−4): about 183 reads of 100 ns.
CHIP = (
    Chip.default()
    .with_array(8, 6)
    .with_(
        **{
            "read_noise.relative": 0.0,
            "disturb.tau0_s": 1e-3,
            "disturb.every_samples": 5,
            "mapping.pedestal": "digital",
        }
    )
)
HIGH = 127


def curve(n: Any, g0: Any, **keys: float) -> Any:
    """G(n) as documented."""
    parts = {"tau0": 1e-3, "v0": 0.05, "beta": 0.5, "sat": 40.0, "net": 1.0} | keys
    tau = parts["tau0"] * np.exp(-0.2 / parts["v0"])
    grown = (parts["net"] * np.asarray(n, float) * 100e-9 / tau) ** parts["beta"]
    return g0 + (parts["sat"] - g0) * (1 - np.exp(-grown))


def test_the_curve_is_the_documented_one() -> None:
    n = np.array([0, 1, 10, 100, 1000, 1e6])
    assert disturbed_us(CHIP, np.full(6, 5.0), n) == pytest.approx(curve(n, 5.0), rel=1e-9)
    keys = {"disturb.v0_v": 0.03, "disturb.beta": 0.3, "disturb.g_sat_us": 2.0}
    changed = CHIP.with_(**keys, **{"disturb.net_stress": 0.1})
    expected = curve(n, 30.0, v0=0.03, beta=0.3, sat=2.0, net=0.1)
    assert disturbed_us(changed, np.full(6, 30.0), n) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(st.floats(0, 40), st.floats(0, 1e9), st.floats(0, 1e9))
def test_it_starts_where_the_cell_was_and_only_goes_on(g0: float, few: float, more: float) -> None:
    few, more = sorted((few, more))
    start, first, second = disturbed_us(CHIP, np.full(3, g0), np.array([0.0, few, more]))
    assert start == g0
    assert g0 <= first <= second <= 40.0 + 1e-9


def test_weaker_reads_count_for_less() -> None:
    worth = stress_table(CHIP, HIGH) / PARTS
    assert (worth[0], worth[HIGH]) == (0.0, 1.0)
    assert (np.diff(worth) > 0).all()
    # Half the voltage: 0.1 V less, worth exp(−0.1/0.05).
    assert stress_table(CHIP, 100)[50] / PARTS == pytest.approx(np.exp(-2), rel=1e-4)


def test_bits_and_pulses_are_at_full_voltage() -> None:
    serial, pulses = (
        stress_table(CHIP.with_(**{"dac.mode": mode}), HIGH) / PARTS
        for mode in ("bit_serial", "pulse_count")
    )
    assert [serial[code] for code in (0, 1, 2, 3, 64, HIGH)] == [0, 1, 1, 2, 1, 7]
    assert pulses == pytest.approx(np.arange(HIGH + 1) / HIGH, abs=1e-6)


@pytest.mark.parametrize(
    ("key", "value"),
    [("tau0_s", -1), ("v0_v", 0), ("beta", 0), ("beta", 1.1), ("net_stress", 2), ("g_sat_us", -1)],
)
def test_impossible_disturb_is_refused(key: str, value: float) -> None:
    with pytest.raises(ChipError, match=f"disturb\\.{key}"):
        CHIP.with_(**{f"disturb.{key}": value})


# --- in the die ------------------------------------------------------------------------------

WORDLINES = np.array([5, 2, 7])
WHERE = Region("w", ((8 + WORDLINES)[:, None] * 6 + np.array([1, 4]))[None], 1.0, True)


def device_of(chip: Chip = CHIP, die: Die | None = None, **options: Any) -> SimDevice:
    device = SimDevice(die or Die.simulated(2), chip, 2, converters=False, **options)
    if die is None:
        device.program(np.arange(96), (np.arange(96) % 12).astype(np.uint16))
    return device


def codes(samples: int, positions: int = 3, rows: tuple[int, ...] = (HIGH, -HIGH, 0)) -> Any:
    """Every vector drives the first two rows in full and the third not at all."""
    return torch.tensor(rows).float()[None, None, :, None].expand(samples, 1, 3, positions)


def stress(die: Die) -> npt.NDArray[np.float64]:
    return die.cells.stress / PARTS


def test_reads_add_up_on_the_wordlines_they_drive() -> None:
    device = device_of()
    device.read(WHERE, codes(4))
    device.read(WHERE, codes(2, positions=1))
    expected = np.zeros((2, 8))
    expected[1, [5, 2]] = 4 * 3 + 2
    assert np.array_equal(stress(device.die), expected)
    half = codes(1, 1, rows=(0, 64, 0))
    device.read(WHERE, half)
    assert stress(device.die)[1, 2] - 14 == pytest.approx(np.exp((64 / 127 - 1) * 4), rel=1e-4)


def test_a_wordline_read_for_columns_of_two_arrays_is_driven_in_both() -> None:
    cells = np.stack([WORDLINES * 6, (8 + WORDLINES) * 6 + 3], axis=1)[None]
    device = device_of()
    device.read(Region("w", cells, 1.0, True), codes(1, 1))
    assert stress(device.die)[:, 5].tolist() == [1.0, 1.0]


def test_cells_follow_the_curve_from_epoch_to_epoch() -> None:
    device = device_of()
    before = device.die.cells.g_us.copy().reshape(-1)[WHERE.cells[0]]
    one = torch.eye(3)[None, None].expand(6, 1, 3, 3) * HIGH
    read = device.read(WHERE, one).numpy()[:, 0].transpose(0, 2, 1) / HIGH
    # Five samples on what the cells held; the sixth after five reads of every row.
    for sample in range(5):
        assert read[sample] == pytest.approx(before, rel=1e-6)
    assert read[5] == pytest.approx(curve(5, before), rel=1e-5)
    assert device.die.cells.g_us.reshape(-1)[WHERE.cells[0]] == pytest.approx(before)


def test_a_die_remembers_and_a_write_makes_a_cell_new(tmp_path: Path) -> None:
    device = device_of()
    device.read(WHERE, codes(10))
    device.die.save(tmp_path / "a.die")
    die = Die.load(tmp_path / "a.die")
    assert np.array_equal(stress(die), stress(device.die))
    held = die.cells.g_us.reshape(-1)[WHERE.cells[0]]
    moved = np.array([curve(30, held[0]), curve(30, held[1]), held[2]])
    assert bank_of(die, WHERE).g_us[0] == pytest.approx(moved, rel=1e-5)

    again = device_of(die=die)
    cell = WHERE.cells[0, 0, 0]
    again.program(np.array([cell]), np.array([3], np.uint16))
    fresh = die.cells.g_us.reshape(-1)[cell]
    found = bank_of(die, WHERE).g_us[0]
    assert found[0, 0] == pytest.approx(fresh, rel=1e-6)
    assert found[0, 1] == pytest.approx(moved[0, 1], rel=1e-5)
    again.read(WHERE, codes(1, 1))
    assert bank_of(die, WHERE).g_us[0, 0, 0] == pytest.approx(curve(1, fresh), rel=1e-5)


def test_a_write_in_the_middle_of_an_epoch_shows_at_once() -> None:
    device = device_of()
    device.read(WHERE, codes(2, 1))
    cell = WHERE.cells[0, 0, :1]
    device.program(cell, np.array([11], np.uint16))
    found = device.read(WHERE, codes(1, 1, rows=(HIGH, 0, 0))).numpy()[0, 0, :, 0] / HIGH
    held = device.die.cells.g_us.reshape(-1)[WHERE.cells[0, 0]]
    assert found == pytest.approx([held[0], curve(2, held[1])], rel=1e-5)


def test_stuck_cells_and_dead_lines_do_not_move() -> None:
    rates = {"faults.stuck_gmin_rate": 0.4, "faults.dead_row_rate": 0.2}
    device = device_of(CHIP.with_(**rates))
    device.die.cells.stress[:] = 1000 * PARTS
    every = Region("all", np.arange(96).reshape(2, 8, 6), 1.0, True)
    stuck = device.die.cells.stuck != Stuck.FREE
    found, held = bank_of(device.die, every).g_us, device.die.cells.g_us
    assert 0 < stuck.sum() < stuck.size
    assert np.array_equal(found[stuck], held[stuck])
    assert found[~stuck] == pytest.approx(curve(1000, held[~stuck]), rel=1e-5)


def test_the_reference_column_is_disturbed_like_the_rest() -> None:
    chip = CHIP.with_(**{"mapping.pedestal": "reference"})
    device = device_of(chip)
    device.die.cells.stress[:] = 50 * PARTS
    state = device.die.cells
    expected = curve(50, state.g_us) - curve(50, state.reference_us)[:, :, None]
    every = Region("all", np.arange(96).reshape(2, 8, 6), 1.0, True)
    assert bank_of(device.die, every).g_us == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_looking_on_leaves_the_die_as_it_was() -> None:
    device = device_of()
    device.read(WHERE, codes(10))
    before = stress(device.die)
    onlooker = device_of(die=device.die, wears=False)
    found = [onlooker.read(WHERE, codes(5)).numpy() for _ in range(2)]
    assert np.array_equal(stress(device.die), before)
    # What it sees goes on all the same.
    assert (found[1] != found[0]).any()


@pytest.mark.parametrize("chip", [CHIP.with_(**{"disturb.tau0_s": 0.0}), CHIP])
def test_off_or_perfect_nothing_changes(chip: Chip) -> None:
    off = not disturbs(chip)
    device = SimDevice(Die.simulated(2) if off else Die.ideal(), chip, 2, converters=False)
    device.program(np.arange(96), (np.arange(96) % 12).astype(np.uint16))
    first, second = (device.read(WHERE, codes(20)).numpy() for _ in range(2))
    assert np.array_equal(first, second)
    assert not device.die.cells.stress.any()


def test_stress_does_not_depend_on_how_reads_are_batched() -> None:
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.integers(-HIGH, HIGH + 1, (12, 1, 3, 4))).float()
    table = torch.from_numpy(stress_table(CHIP, HIGH))
    whole = stress_of(table, inputs)
    parts = sum(stress_of(table, part) for part in inputs.split(5))
    assert np.array_equal(whole, parts)


def test_a_chip_that_any_read_disturbs_has_its_cells_at_the_end(tiny_chip) -> None:
    """τ of voltages far above v0 is less than float64 holds."""
    chip = tiny_chip.with_(**{"disturb.tau0_s": 1.0, "disturb.v0_v": 1e-300})
    found = disturbed_us(chip, np.array([chip.cell.g_min_us]), np.array([1.0]))
    assert found == pytest.approx([chip.cell.g_max_us])


def test_a_code_that_is_no_number_drives_nothing() -> None:
    table = torch.arange(4)
    codes = torch.tensor([[[[1.0, torch.nan, -3.0]]]])
    assert stress_of(table, codes).tolist() == [[4]]
