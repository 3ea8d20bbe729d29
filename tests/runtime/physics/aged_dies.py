"""Dies whose cells all hold one level, and how they are looked at."""

from __future__ import annotations

import numpy as np

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die

ERRORS = 4.5
DAY = 86_400.0
CELLS = 40_000
#: The laws of the shipped chip alone, at any age and without ends of the range.
CMO = Chip.load("cmo").with_(**{"retention.least_age_s": None, "retention.within_range": None})


def filled(chip: Chip, level: int, *, arrays: int = 1, seed: int = 1) -> Die:
    die = Die.simulated(seed)
    die.attach(chip.with_array(200, CELLS // 200), arrays)
    size = die.cells.level.size
    die.program(np.arange(size), np.full(size, level))
    return die


def now(die: Die) -> np.ndarray:
    return die.held_us(np.arange(die.cells.level.size)).astype(np.float64)


def agrees(samples: np.ndarray, mean: float, sigma: float) -> None:
    """Mean and variance within their standard errors."""
    assert abs(samples.mean() - mean) < ERRORS * sigma / len(samples) ** 0.5
    assert abs(samples.var() / sigma**2 - 1) < ERRORS * (2 / len(samples)) ** 0.5
