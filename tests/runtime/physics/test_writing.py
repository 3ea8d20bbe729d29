"""Writes land as the chip says: mean, spread and tails, against formulas written down again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.runtime.die.die import Die

#: Standard errors that a statistic may be off; one in 150,000 is, by chance.
ERRORS = 4.5


def held(chip: Chip, level: int, cells: int = 40_000, seed: int = 3) -> np.ndarray:
    """What cells of a die hold that were all written with one level."""
    chip = chip.with_array(200, cells // 200)
    die = Die.simulated(seed)
    die.attach(chip, 1)
    die.program(np.arange(cells), np.full(cells, level))
    return die.cells.g_us.reshape(-1).astype(np.float64)


def with_sigma(**sigma: Any) -> Chip:
    return Chip.default().with_(**{"cell.sigma": sigma})


def agrees(samples: np.ndarray, mean: float, sigma: float) -> None:
    """Mean and variance within their standard errors, that of the variance from the samples."""
    centred = samples - samples.mean()
    variance = (centred**2).mean()
    assert abs(samples.mean() - mean) < ERRORS * sigma / len(samples) ** 0.5
    error = np.sqrt(((centred**4).mean() - variance**2) / len(samples))
    assert abs(variance - sigma**2) < ERRORS * error


# --- what the shipped chips cite ---------------------------------------------------------------


def neurram(g: float) -> float:
    """Wan et al., one second after the write."""
    x = g / 40
    return 0.348 + 16.030 * x - 43.853 * x**2 + 45.393 * x**3 - 16.815 * x**4


CITED: dict[str, Callable[[float], float]] = {
    "cmo": lambda g: 0.01129 * g + 0.0112,
    "generic-128": lambda g: 0.05 * 38,
    "ihp": lambda g: 4.782 - 0.009107 * g,
    "neurram": neurram,
    "taox": lambda g: 0.02 * 34.5,
}


def cut_at_zero(g: float, sigma: float) -> tuple[float, float]:
    """Mean and standard deviation of max(N(g, σ), 0)."""
    above, density = stats.norm.cdf(g / sigma), stats.norm.pdf(g / sigma)
    mean = g * above + sigma * density
    square = (g**2 + sigma**2) * above + g * sigma * density
    return mean, np.sqrt(square - mean**2)


@pytest.mark.parametrize("name", Chip.shipped())
def test_every_level_of_a_shipped_chip_has_the_sigma_it_cites(name: str) -> None:
    chip = Chip.load(name)
    for level, g in enumerate(chip.cell.g_levels_us):
        mean, sigma = cut_at_zero(g, CITED[name](g))
        agrees(held(chip, level), mean, sigma)


# --- kinds -------------------------------------------------------------------------------------


def test_proportional() -> None:
    chip = with_sigma(kind="proportional", relative=0.04)
    for level, g in ((0, 2.0), (15, 40.0)):
        samples = held(chip, level)
        agrees(samples, g, 0.04 * g)
        assert stats.kstest((samples - g) / (0.04 * g), "norm").pvalue > 0.001


@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_lognormal(spread: float) -> None:
    chip = with_sigma(kind="lognormal", ln_sigma=spread)
    samples = held(chip, 15)
    agrees(samples, 40.0, 40.0 * np.sqrt(np.exp(spread**2) - 1))
    logs = np.log(samples / 40.0)
    agrees(logs, -(spread**2) / 2, spread)
    assert stats.kstest((logs + spread**2 / 2) / spread, "norm").pvalue > 0.001
    # The upper tail is the longer one, as far as a lognormal's.
    far = 40.0 * np.exp(2.5 * spread - spread**2 / 2)
    share = float(stats.norm.sf(2.5))
    assert abs((samples > far).mean() - share) < ERRORS * np.sqrt(share / len(samples))
    assert samples.min() > 0


def test_table_with_a_measured_shift() -> None:
    table = {"g_us": [2.0, 20.0, 40.0], "table_us": [0.1, 1.0, 0.4], "shift_us": [0.5, 0.0, -2.0]}
    chip = with_sigma(kind="table", **table)
    agrees(held(chip, 0), 2.5, 0.1)
    agrees(held(chip, 15), 38.0, 0.4)
    target = chip.cell.g_levels_us[10]
    share = (target - 20) / 20
    agrees(held(chip, 10), target - 2 * share, 1 - 0.6 * share)


levels = st.floats(0, 100)
kinds = st.one_of(
    st.fixed_dictionaries({"kind": st.just("constant"), "constant_us": st.floats(0, 9)}),
    st.fixed_dictionaries({"kind": st.just("proportional"), "relative": st.floats(0, 1)}),
    st.fixed_dictionaries({"kind": st.just("lognormal"), "ln_sigma": st.floats(0, 1)}),
    st.fixed_dictionaries(
        {
            "kind": st.just("polynomial"),
            "variable": st.sampled_from(["g_us", "x"]),
            "coefficients_us": st.lists(st.floats(-1, 1), min_size=1, max_size=4),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("write_verify"),
            "tolerance_us": st.floats(1e-3, 50),
            "max_pulses": st.integers(1, 1000),
            "pulse_coefficients_us": st.lists(st.floats(-1, 1), min_size=1, max_size=3),
            "relaxation_coefficients_us": st.lists(st.floats(0, 1), min_size=1, max_size=3),
        }
    ),
)


@settings(max_examples=150, deadline=None)
@given(kinds, st.lists(levels, min_size=1, max_size=6))
def test_what_all_kinds_have_in_common(sigma: dict[str, Any], targets: list[float]) -> None:
    chip = with_sigma(**sigma)
    assert Chip.from_dict(chip.to_dict()) == chip
    model, target = chip.cell.sigma.model, np.array(targets)
    spread = chip.cell.sigma.sigma_us(target)
    assert spread.shape == target.shape
    assert (spread >= 0).all()
    # Two draws of opposite sign and rank lie around the target, without spread on it.
    quiet = model.sample(target, np.zeros((model.draws, len(target))))
    assert np.isfinite(quiet).all()
    assert np.allclose(quiet[spread == 0], target[spread == 0])
    shaped = model.sample(target[:, None], np.zeros((model.draws, len(target), 1)))
    assert np.array_equal(shaped[:, 0], quiet)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        ({"kind": "proportional"}, "proportional needs relative"),
        ({"kind": "lognormal"}, "lognormal needs ln_sigma"),
        ({"kind": "lognormal", "ln_sigma": 0.1, "relative": 0.1}, "keys of another kind"),
        ({"kind": "lognormal", "ln_sigma": -0.1}, r"cell\.sigma\.ln_sigma: must be"),
        ({"kind": "write_verify", "tolerance_us": 1.0}, "write_verify needs tolerance_us and max_"),
        (
            {"kind": "write_verify", "tolerance_us": 0.0, "max_pulses": 0},
            r"2 problems: cell\.sigma\.tolerance_us: must be .*max_pulses: must be",
        ),
        ({"kind": "plugin", "parameters": [1.0]}, "plugin needs plugin"),
        ({"kind": "wishful"}, r"must be one of constant, .* not 'wishful'"),
        (
            {"kind": "table", "g_us": [1.0, 2.0], "table_us": [1.0, 1.0], "shift_us": [0.1]},
            "shift_us: must be as long as g_us",
        ),
    ],
)
def test_impossible_errors_are_refused(sigma: dict[str, Any], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        with_sigma(**sigma)


# --- draws -------------------------------------------------------------------------------------


def test_the_draws_of_one_write_are_independent() -> None:
    """Landing and relaxation of a write have streams of their own."""
    pulse = {"kind": "write_verify", "tolerance_us": 1.0, "max_pulses": 99}
    landing = held(with_sigma(**pulse, pulse_coefficients_us=[2.0]), 8)
    relaxed = {"pulse_coefficients_us": [0.0], "relaxation_coefficients_us": [1.5]}
    relaxation = held(with_sigma(**pulse, **relaxed), 8)
    both = held(
        with_sigma(**pulse, pulse_coefficients_us=[2.0], relaxation_coefficients_us=[1.5]), 8
    )
    target = Chip.default().cell.g_levels_us[8]
    assert np.allclose(both - target, (landing - target) + (relaxation - target), atol=1e-5)
    assert abs(np.corrcoef(landing, relaxation)[0, 1]) < ERRORS / len(landing) ** 0.5


def test_a_stuck_cell_passes_where_it_is_asked_for_what_it_holds() -> None:
    """Verified, a cell that no pulse moves is refused but for levels within the tolerance."""
    verify = {
        "kind": "write_verify",
        "tolerance_us": 3.0,
        "max_pulses": 1000,
        "pulse_coefficients_us": [2.0],
    }
    rates = {"faults.stuck_gmax_rate": 0.3, "faults.stuck_gmin_rate": 0.3}
    chip = Chip.default().with_array(40, 50).with_(**rates, **{"cell.sigma": verify})
    levels_us = np.asarray(chip.cell.g_levels_us)
    for level in range(16):
        die = Die.simulated(1)
        die.attach(chip, 1)
        taken = die.program(np.arange(2000), np.full(2000, level))
        stuck, held_us = die.cells.stuck.reshape(-1), die.cells.g_us.reshape(-1)
        near = np.abs(held_us - levels_us[level]) <= 3.0
        assert np.array_equal(taken[stuck > 0], near[stuck > 0])
        assert taken[stuck == 0].all()
        assert (taken[stuck == 1].all(), taken[stuck == 2].all()) == (level < 2, level > 13)
