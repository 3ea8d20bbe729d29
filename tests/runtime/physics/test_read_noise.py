"""White noise against its formula; telegraph noise against its statistics, and over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.chip.design import Chip, ReadNoise
from pimc.errors import ChipError
from pimc.runtime.die.bank import bank_of, periods
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.physics.read_noise import (
    CELL,
    REFERENCE,
    is_noisy,
    telegraph,
    trapped,
    variance_us2,
)

CELLS = np.arange(200_000)
RTN = ReadNoise(rtn_share=0.3, rtn_amplitude=0.2, rtn_duty=0.25, rtn_dwell_samples=10)
#: Samples that a trap of ``CHIP`` keeps its state for.
DWELL = 12
#: Standard errors within which a statistic must lie.
ERRORS = 4.5


# --- white -----------------------------------------------------------------------------------


def test_white_noise_is_the_sum_of_three_independent_parts() -> None:
    g_us = np.array([0.0, 0.5, 1.0, 10.0, 100.0])
    noise = ReadNoise(relative=0.02, sigma_us=0.3, log_us=0.05, log_time_s=100.0, log_t_r_s=1e-3)
    time = np.log((100.0 + 1e-3) / 2e-3)
    log_g = np.array([0.0, 0.0, 0.0, 1.0, 2.0])
    expected = (0.02 * g_us) ** 2 + 0.3**2 + (0.05 * log_g) ** 2 * time
    assert variance_us2(noise, g_us) == pytest.approx(expected, rel=1e-12)
    assert is_noisy(noise)
    assert not is_noisy(ReadNoise(relative=0.0))
    assert is_noisy(ReadNoise(relative=0.0, log_us=0.01))


def test_cmo_has_its_published_read_noise() -> None:
    chip = Chip.load("cmo")
    g_us = np.asarray(chip.cell.g_levels_us)
    expected = 0.0277 * np.log10(g_us) * np.sqrt(np.log((1.0 + 1e-6) / 2e-6))
    assert np.sqrt(variance_us2(chip.read_noise, g_us)) == pytest.approx(expected, rel=1e-9)


def test_at_the_time_constant_the_logarithmic_part_is_zero() -> None:
    noise = ReadNoise(relative=0.0, log_us=0.05, log_time_s=1e-6)
    assert variance_us2(noise, np.array([50.0])) == pytest.approx([0.0], abs=1e-12)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log_time_s", 1e-9),
        ("log_us", -0.1),
        ("rtn_share", 1.5),
        ("rtn_amplitude", -0.1),
        ("rtn_duty", 2),
        ("rtn_dwell_samples", 0),
    ],
)
def test_impossible_noise_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ChipError, match=f"read_noise\\.{key}"):
        Chip.default().with_(**{f"read_noise.{key}": value})


# --- telegraph -------------------------------------------------------------------------------


def test_the_share_of_traps_is_the_chips() -> None:
    traps = trapped(RTN, 3, CELL, CELLS)
    error = (0.3 * 0.7 / len(CELLS)) ** 0.5
    assert abs(traps.mean() - 0.3) < ERRORS * error
    assert np.array_equal(traps, trapped(RTN, 3, CELL, CELLS))
    # Other dies, and reference cells, have their traps elsewhere.
    for other in (trapped(RTN, 4, CELL, CELLS), trapped(RTN, 3, REFERENCE, CELLS)):
        assert abs(np.corrcoef(traps, other)[0, 1]) < ERRORS / len(CELLS) ** 0.5


def test_the_two_states_have_the_chips_distance_duty_and_mean() -> None:
    factor = telegraph(RTN, 1, CELL, CELLS, 0)
    lower, upper = np.unique(factor)
    assert (lower, upper) == pytest.approx((1 - 0.2 * 0.25, 1 + 0.2 * 0.75))
    variance = 0.2**2 * 0.25 * 0.75
    assert abs((factor == upper).mean() - 0.25) < ERRORS * (0.25 * 0.75 / len(CELLS)) ** 0.5
    assert abs(factor.mean() - 1) < ERRORS * (variance / len(CELLS)) ** 0.5
    # Standard error of a variance, from the fourth central moment of the two states.
    fourth = ((np.array([-0.05, 0.15]) ** 4) * [0.75, 0.25]).sum()
    error = ((fourth - variance**2) / len(CELLS)) ** 0.5
    assert abs(factor.var() - variance) < ERRORS * error


def test_states_hold_for_their_dwell_and_are_drawn_anew_after_it() -> None:
    states = [telegraph(RTN, 1, CELL, CELLS, sample) for sample in (0, 9, 10, 19, 20)]
    assert np.array_equal(states[0], states[1])
    assert np.array_equal(states[2], states[3])
    for left, right in ((0, 2), (2, 4), (0, 4)):
        correlation = np.corrcoef(states[left], states[right])[0, 1]
        assert abs(correlation) < ERRORS / len(CELLS) ** 0.5
    neighbours = np.corrcoef(states[0][1:], states[0][:-1])[0, 1]
    assert abs(neighbours) < ERRORS / len(CELLS) ** 0.5
    other_seed = np.corrcoef(states[0], telegraph(RTN, 2, CELL, CELLS, 0))[0, 1]
    assert abs(other_seed) < ERRORS / len(CELLS) ** 0.5


def test_states_are_those_of_the_cells_whatever_is_asked_with_them() -> None:
    every = telegraph(RTN, 1, CELL, CELLS, 50)
    some = CELLS[::-7]
    assert np.array_equal(telegraph(RTN, 1, CELL, some, 50), every[some])


# --- in the bank -----------------------------------------------------------------------------

CHIP = (
    Chip.default()
    .with_array(16, 16)
    .with_(
        **{
            "read_noise.relative": 0.03,
            "read_noise.rtn_share": 0.5,
            "read_noise.rtn_amplitude": 0.4,
            "read_noise.rtn_duty": 0.3,
            "read_noise.rtn_dwell_samples": 12,
            "mapping.pedestal": "digital",
        }
    )
)
WHERE = Region("w", np.arange(256).reshape(1, 16, 16), 1.0, True)


def written(chip: Chip, die: Die) -> Die:
    die.attach(chip, 1)
    die.program(np.arange(256), np.arange(256, dtype=np.uint16) % chip.cell.levels)
    return die


def test_over_time_the_mean_is_what_was_written() -> None:
    die = written(CHIP, Die.simulated(4))
    held = die.cells.g_us.reshape(1, 16, 16)
    epochs = 600
    found = np.stack([bank_of(die, WHERE, DWELL * epoch).g_us for epoch in range(epochs)])
    traps = (found != found[0]).any(axis=0)
    assert abs(traps.mean() - 0.5) < ERRORS * (0.25 / 256) ** 0.5
    assert np.array_equal(found[0][~traps], held[~traps])
    sigma = 0.4 * held * (0.3 * 0.7) ** 0.5
    deviation = np.abs(found.mean(axis=0) - held)
    assert (deviation <= ERRORS * sigma / epochs**0.5)[traps].all()


def test_white_noise_follows_the_state_of_the_trap() -> None:
    bank = bank_of(written(CHIP, Die.simulated(4)), WHERE, 3)
    assert bank.variance is not None
    assert bank.variance == pytest.approx((0.03 * bank.g_us) ** 2, rel=1e-5)


def test_reference_cells_have_traps_of_their_own() -> None:
    chip = CHIP.with_(**{"mapping.pedestal": "reference"})
    die = written(chip, Die.simulated(4))
    change = bank_of(die, WHERE, DWELL).g_us - bank_of(die, WHERE, 0).g_us
    # A reference cell that changes its state moves its whole row alike.
    common = np.median(change[0], axis=1)
    g_us = die.cells.reference_us[0]
    assert 0 < (common != 0).sum() < 16
    assert np.abs(common[common != 0]) == pytest.approx(0.4 * g_us[common != 0], rel=1e-4)


def test_a_perfect_die_has_no_traps() -> None:
    die = written(CHIP, Die.ideal())
    assert np.array_equal(bank_of(die, WHERE, 0).g_us, bank_of(die, WHERE, DWELL).g_us)
    assert bank_of(die, WHERE, 0).variance is None


def test_a_bank_holds_as_long_as_all_that_changes_it() -> None:
    assert periods(Chip.default()) == ()
    assert periods(CHIP) == (DWELL,)
    disturb = {"disturb.tau0_s": 1.0, "disturb.every_samples": 8}
    assert periods(Chip.default().with_(**disturb)) == (8,)
    assert periods(CHIP.with_(**disturb)) == (DWELL, 8)


def test_cmo_cells_fluctuate_more_the_longer_ago_they_were_written() -> None:
    noise = Chip.load("cmo").read_noise
    g_us = np.array([10.0, 50.0, 88.0])
    fresh, aged = (variance_us2(noise, g_us, age) for age in (0.0, 86400.0))
    # 0.0277 log10(G) sqrt(ln((t + 1 us) / 2 us)), and t counts as 1 s before that.
    for found, t in ((fresh, 1.0), (aged, 86400.0)):
        sigma = 0.0277 * np.log10(g_us) * np.sqrt(np.log((t + 1e-6) / 2e-6))
        assert np.sqrt(found) == pytest.approx(sigma, rel=1e-6)


def test_a_die_that_aged_is_read_with_that_noise() -> None:
    chip = Chip.load("cmo").with_(retention={"kind": "none"})
    die = written(chip.with_array(16, 16), Die.simulated(4))
    fresh = bank_of(die, WHERE).variance
    die.age(86400.0)
    aged = bank_of(die, WHERE).variance
    assert fresh is not None
    assert aged is not None
    growth = np.log(86400.0 / 2e-6) / np.log(1.0 / 2e-6)
    assert (aged / fresh)[fresh > 0] == pytest.approx(growth, rel=1e-3)
