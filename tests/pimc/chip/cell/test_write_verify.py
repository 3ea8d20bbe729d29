"""Write-verify in closed form against pulses that are really given one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pimc.chip.cell.programming_error import Polynomial
from pimc.chip.cell.write_verify import WriteVerify
from pimc.chip.design import Chip
from pimc.chip.write_cost import level_costs, writing
from pimc.runtime.die.die import Die, Stuck

ERRORS = 4.5
CELLS = 100_000


def pulsed(
    target: float, tolerance: float, most: int, spread: float, relaxation: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conductance, pulses and success of cells that are pulsed until they are accepted."""
    rng = np.random.default_rng(5)
    g = np.full(CELLS, np.nan)
    pulses = np.zeros(CELLS, int)
    accepted = np.zeros(CELLS, bool)
    for _ in range(most):
        going = ~accepted
        g[going] = target + spread * rng.standard_normal(going.sum())
        pulses[going] += 1
        accepted[going] = np.abs(g[going] - target) <= tolerance
    return g + relaxation * rng.standard_normal(CELLS), pulses, accepted


def chip_of(tolerance: float, most: int, spread: float, relaxation: float, **more: Any) -> Chip:
    sigma = {
        "kind": "write_verify",
        "tolerance_us": tolerance,
        "max_pulses": most,
        "pulse_coefficients_us": [spread],
        "relaxation_coefficients_us": [relaxation],
    }
    return Chip.default().with_(**{"cell.sigma": sigma, **more})


@pytest.mark.parametrize(
    ("tolerance", "most", "spread", "relaxation"),
    [
        (1.0, 20, 2.0, 0.5),  # nearly all are accepted
        (0.5, 3, 2.0, 0.0),  # half run out of pulses
        (0.2, 1, 3.0, 1.0),  # one pulse, accepted or not
        (5.0, 4, 1.0, 0.3),  # a tolerance that changes nothing
    ],
)
def test_the_model_is_that_of_the_pulses(
    tolerance: float, most: int, spread: float, relaxation: float
) -> None:
    chip = chip_of(tolerance, most, spread, relaxation).with_array(250, 400)
    target = chip.cell.g_levels_us[10]
    g, pulses, accepted = pulsed(target, tolerance, most, spread, relaxation)
    cost = level_costs(chip)[10]
    error = np.sqrt(CELLS)

    assert abs(pulses.mean() - cost.pulses) < ERRORS * pulses.std() / error + 1e-6
    share = cost.success
    assert abs(accepted.mean() - share) < ERRORS * np.sqrt(share * (1 - share)) / error + 1e-6
    fourth = ((g - target) ** 4).mean() - g.var() ** 2
    assert abs(g.var() - cost.sigma_us**2) < ERRORS * np.sqrt(fourth) / error

    die = Die.simulated(1)
    die.attach(chip, 1)
    took = die.program(np.arange(CELLS), np.full(CELLS, 10))
    held = die.cells.g_us.reshape(-1).astype(np.float64)
    assert abs(took.mean() - share) < ERRORS * np.sqrt(share * (1 - share)) / error + 1e-6
    # Accepted cells, the others and both together are distributed as the pulsed ones.
    for mine, theirs in ((held, g), (held[took], g[accepted]), (held[~took], g[~accepted])):
        if min(len(mine), len(theirs)) > 50:
            assert stats.ks_2samp(mine, theirs).pvalue > 1e-4


def test_without_relaxation_accepted_cells_lie_within_the_tolerance() -> None:
    chip = chip_of(0.7, 4, 2.0, 0.0).with_array(100, 100)
    die = Die.simulated(2)
    die.attach(chip, 1)
    took = die.program(np.arange(10_000), np.full(10_000, 10))
    off = np.abs(die.cells.g_us.reshape(-1) - chip.cell.g_levels_us[10])
    assert 0.5 < took.mean() < 0.99
    assert off[took].max() <= 0.7 + 1e-5
    assert off[~took].min() >= 0.7 - 1e-5


def test_pulses_depend_on_the_level() -> None:
    sigma = {
        "kind": "write_verify",
        "tolerance_us": 1.0,
        "max_pulses": 100,
        "variable": "x",
        "pulse_coefficients_us": [0.5, 4.0],
    }
    chip = Chip.default().with_(**{"cell.sigma": sigma})
    costs = level_costs(chip)
    pulses = [cost.pulses for cost in costs]
    assert pulses == sorted(pulses)
    # σ of a pulse at the top level is 4.5 µS, so p = erf(1/(4.5 √2)) = 0.17586.
    assert costs[-1].pulses == pytest.approx(1 / 0.17586, rel=1e-4)
    assert costs[-1].energy_pj == pytest.approx(10 / 0.17586, rel=1e-4)
    assert costs[-1].seconds == pytest.approx(100e-9 / 0.17586, rel=1e-4)
    total = writing(chip, np.arange(16))
    assert total.pulses == pytest.approx(sum(n * p for n, p in enumerate(pulses)))
    assert total.missed == pytest.approx(sum(n * (1 - c.success) for n, c in enumerate(costs)))


def test_other_chips_cost_what_their_file_says() -> None:
    chip = Chip.load("ihp")
    total = writing(chip, [3] * 8)
    assert (total.pulses, total.missed) == (24 * 121.0, 0.0)
    assert total.energy_pj == pytest.approx(24 * 121 * 10)
    assert {cost.success for cost in level_costs(chip)} == {1.0}


@pytest.mark.parametrize("spread", [0.0, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("most", [1, 3, 10**6])
def test_the_ends_of_the_model(spread: float, most: int) -> None:
    model = WriteVerify(1.0, most, Polynomial((spread,)), Polynomial((0.0,)))
    target = np.array([0.0, 5.0])
    sigma, success, pulses = model.sigma_us(target), model.success(target), model.pulses(target)
    accepts = {0.0: 1.0, 1e-6: 1.0, 1.0: 0.6826895, 1e6: 7.978846e-7}[spread]
    assert success == pytest.approx(1 - (1 - accepts) ** most, rel=1e-6)
    assert pulses == pytest.approx((1 - (1 - accepts) ** most) / accepts, rel=1e-6)
    assert np.isfinite(sigma).all()
    if spread < 1:
        assert sigma == pytest.approx(spread, rel=1e-6)
    if most == 1:
        assert sigma == pytest.approx(spread, rel=1e-6)  # one pulse: no choice
    draws = np.random.default_rng(0).standard_normal((2, 2))
    assert np.isfinite(model.sample(target, draws)).all()


def test_stuck_cells_do_not_pass_the_verify() -> None:
    chip = chip_of(1.0, 100, 1.0, 0.0, **{"faults.stuck_gmax_rate": 0.3})
    die = Die.simulated(4)
    die.attach(chip.with_array(50, 40), 1)
    free = die.cells.stuck.reshape(-1) == Stuck.FREE
    assert 0.6 < free.mean() < 0.8
    assert np.array_equal(die.program(np.arange(2000), np.full(2000, 3)), free)
    # Stuck where they should be, they pass.
    assert die.program(np.arange(2000), np.full(2000, 15)).all()
