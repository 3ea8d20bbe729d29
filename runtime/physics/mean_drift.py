"""What cells hold on average some time after their write, and how far they scatter about that.

A chip's statistics alone say it: write error, retention and a laboratory's own terms, cut off
where the die cuts them off. No die is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.programming_error import Constant, WriteModel
from pimc.chip.design import Chip
from pimc.runtime.physics.retention import moved_us
from pimc.runtime.physics.streams import Stream, normals

__all__ = ["LevelDrift", "level_drift"]

Array64 = npt.NDArray[np.float64]

#: Draws of every kind that means are taken over.
_POINTS = 1 << 13


@dataclass(frozen=True)
class LevelDrift:
    """What written cells hold at some ages.

    Attributes:
        mean_us: (ages, levels).
        variance: (ages, levels) µS², about that mean.
        reference_us: (ages,) of a reference column's cells, on average; 0 without one.
        reference_variance: (ages,) µS².
    """

    mean_us: Array64 = field(repr=False)
    variance: Array64 = field(repr=False)
    reference_us: Array64 = field(repr=False)
    reference_variance: Array64 = field(repr=False)


def level_drift(chip: Chip, ages_s: Sequence[float]) -> LevelDrift:
    """What cells of every level hold at each of some ages, over all dies.

    Ages below the chip's least age count as that age; at 0 the cells are as they were written.
    """
    levels_us = np.asarray(chip.cell.g_levels_us, np.float64)
    mean, variance = _held(chip, chip.cell.sigma.model, levels_us, ages_s)
    count = len(ages_s)
    if chip.mapping.pedestal != "reference":
        return LevelDrift(mean, variance, np.zeros(count), np.zeros(count))
    own_us = chip.mapping.reference_sigma_us
    model = chip.cell.sigma.model if own_us is None else Constant(own_us)
    middle = levels_us[len(levels_us) // 2 :][:1]
    at, scatter = _held(chip, model, middle, ages_s)
    return LevelDrift(mean, variance, at[:, 0], scatter[:, 0])


def _held(
    chip: Chip, write: WriteModel, target_us: Array64, ages_s: Sequence[float]
) -> tuple[Array64, Array64]:
    """Mean and variance, (ages, targets), over all that is drawn."""
    terms = [*chip.physics.of_cells, *chip.physics.of_time]
    counts = [write.draws, 1, *(term.draws for term in terms)]
    parts = np.split(_normals(sum(counts)), np.cumsum(counts)[:-1])
    shape = (_POINTS, len(target_us))
    drawn = [np.broadcast_to(part[..., None], (len(part), *shape)) for part in parts]
    target = np.broadcast_to(target_us, shape).copy()
    held = write.sample(target, drawn[0])
    split = 2 + len(chip.physics.of_cells)
    for term, draws in zip(chip.physics.of_cells, drawn[2:split], strict=True):
        held = term.sample(held, target, draws)
    held, means, variances = np.maximum(held, 0.0), [], []
    for age_s in ages_s:
        age, now = max(age_s, chip.retention.youngest_s), held
        if age > 0:
            ages = np.full(shape, float(age))
            now = moved_us(chip, held, target, ages, drawn[1][0], drawn[split:])
        means.append(now.mean(axis=0))
        variances.append(now.var(axis=0))
    return np.stack(means), np.stack(variances)


def _normals(draws: int) -> Array64:
    """(draws, points) standard normals, each with its opposite, so that their mean is 0."""
    half = normals(draws, 0, Stream.OWN, np.arange(_POINTS // 2))
    return np.concatenate([half, -half], axis=1)
