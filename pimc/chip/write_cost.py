"""What writing cells costs: pulses, time and energy, and how many cells are given up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.write_verify import WriteVerify
from pimc.chip.design import Chip

__all__ = ["LevelCost", "Writing", "level_costs", "writing"]


@dataclass(frozen=True)
class LevelCost:
    """Writing one cell to one level.

    Attributes:
        level: 0 to levels − 1.
        target_us: its conductance.
        sigma_us: standard deviation of what the cell then holds.
        pulses: mean number of pulses.
        success: share of the cells that are accepted; 1 where the chip does not say.
        energy_pj, seconds: mean cost.
    """

    level: int
    target_us: float
    sigma_us: float
    pulses: float
    success: float
    energy_pj: float
    seconds: float


@dataclass(frozen=True)
class Writing:
    """Cost of writing cells one after the other; ``missed`` of them are given up, on average."""

    pulses: float
    energy_pj: float
    seconds: float
    missed: float


def level_costs(chip: Chip) -> tuple[LevelCost, ...]:
    """What one write to each level costs.

    With P pulses, from the model of write-verify where the chip has it and else the chip's
    ``programming.pulses_per_cell``: E = P · pulse_energy_pj, t = P · pulse_ns.
    """
    levels_us = np.asarray(chip.cell.g_levels_us)
    pulses, success = _pulses(chip, levels_us)
    cost = chip.programming
    return tuple(
        LevelCost(
            level=level,
            target_us=target_us,
            sigma_us=sigma_us,
            pulses=count,
            success=share,
            energy_pj=count * cost.pulse_energy_pj,
            seconds=count * cost.pulse_ns * 1e-9,
        )
        for level, (target_us, sigma_us, count, share) in enumerate(
            zip(
                levels_us.tolist(),
                chip.cell.sigma.sigma_us(levels_us).tolist(),
                pulses.tolist(),
                success.tolist(),
                strict=True,
            )
        )
    )


def writing(chip: Chip, writes: npt.ArrayLike) -> Writing:
    """Cost of writes, one after the other.

    Args:
        chip: the design.
        writes: (levels,) how many cells are written to each level.
    """
    levels_us, count = np.asarray(chip.cell.g_levels_us), np.asarray(writes, dtype=np.float64)
    each, success = _pulses(chip, levels_us)
    pulses = float(count @ each)
    return Writing(
        pulses=pulses,
        energy_pj=pulses * chip.programming.pulse_energy_pj,
        seconds=pulses * chip.programming.pulse_ns * 1e-9,
        missed=float(count @ (1 - success)),
    )


def _pulses(
    chip: Chip, levels_us: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean pulses of a write to each level, and the share of the cells that are accepted."""
    model = chip.cell.sigma.model
    if isinstance(model, WriteVerify):
        return model.pulses(levels_us), model.success(levels_us)
    return np.full(levels_us.shape, chip.programming.pulses_per_cell), np.ones(levels_us.shape)
