"""What a weight can still be where some of its cells are stuck.

A weight's cells are asked for the levels of its code; a cell that is stuck holds a conductance of
its own instead. A pattern says which of a weight's cells hold what: (planes,) µS, NaN for a sound
cell. The values of all codes under a pattern are then

    values_us[c] + Σ_p coefficients[p] · (held[p] − G(levels[c, p]))

with the sum over the stuck cells, so that of several cells a weight the sound ones can make up
for the others (closest value mapping).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook

__all__ = ["HeldWeights", "code_values_us", "squared_error"]

Array64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint16]


def code_values_us(book: Codebook, levels_us: Array64, held_us: Array64) -> Array64:
    """(M,) what each code conducts where cells hold ``held_us`` (planes,), NaN for sound ones."""
    stuck = ~np.isnan(held_us)
    away = held_us[stuck] - levels_us[book.levels[:, stuck]]
    values: Array64 = book.values_us + away @ book.coefficients[stuck]
    return values


def squared_error(
    book: Codebook, levels_us: Array64, plane: int, held_us: float, *, made_up: bool
) -> Array64:
    """(M,) squared error of each code, µS², where the cell of one plane holds ``held_us``.

    Args:
        made_up: the other cells of the weight are asked for what is nearest then; else they keep
            their levels.
    """
    pattern = np.full(book.planes, np.nan)
    pattern[plane] = held_us
    values = code_values_us(book, levels_us, pattern)
    if made_up:
        within = np.sort(values)
        values = within[_nearest(within, book.values_us)]
    error: Array64 = (values - book.values_us) ** 2
    return error


@dataclass(frozen=True)
class HeldWeights:
    """A layer's weights, some of whose cells are stuck.

    Attributes:
        held_us: (groups, rows, cols, planes), NaN for sound cells.
        pattern: (groups, rows, cols) number of each weight's pattern; 0: all cells are sound.
        values_us: (patterns, M) what each code conducts.
        order: (patterns, M) codes by what they conduct; of equal ones first those whose stuck
            cells are asked for the level nearest to what they hold.
    """

    held_us: Array64 = field(repr=False)
    pattern: npt.NDArray[np.int64] = field(repr=False)
    values_us: Array64 = field(repr=False)
    order: npt.NDArray[np.int64] = field(repr=False)

    @staticmethod
    def of(book: Codebook, levels_us: Array64, held_us: Array64) -> HeldWeights:
        """The weights of a layer from what its cells hold, (groups, rows, cols, planes)."""
        stuck = ~np.isnan(held_us).all(axis=-1)
        patterns, number = np.unique(held_us[stuck], axis=0, return_inverse=True)
        every = np.concatenate([np.full((1, book.planes), np.nan), patterns])
        pattern = np.zeros(stuck.shape, np.int64)
        pattern[stuck] = number.reshape(-1) + 1
        # Rounded, so that codes that conduct the same are told as the same.
        values = np.round([code_values_us(book, levels_us, row) for row in every], 9)
        away = np.array([np.nansum(np.abs(row - levels_us[book.levels]), axis=1) for row in every])
        order = np.array([np.lexsort(keys) for keys in zip(away, values, strict=True)])
        return HeldWeights(held_us, pattern, values, order)

    @property
    def stuck(self) -> npt.NDArray[np.bool_]:
        """(groups, rows, cols) weights with a stuck cell."""
        return self.pattern > 0

    def nearest(self, codes: Codes, target_us: Array64, pattern: npt.NDArray[np.int64]) -> Codes:
        """``codes``, those of weights with a stuck cell replaced by what comes nearest."""
        found = codes.copy()
        for number in np.unique(pattern[pattern > 0]):
            here, order = pattern == number, self.order[number]
            values = self.values_us[number][order]
            place = _nearest(values, target_us[here])
            # Of codes that conduct the same, the first.
            found[here] = order[np.searchsorted(values, values[place])]
        return found

    def of_codes(
        self, codes: npt.NDArray[np.integer[Any]], pattern: npt.NDArray[np.int64] | None = None
    ) -> Array64:
        """What weights of ``codes`` conduct, µS."""
        return np.asarray(self.values_us[self.pattern if pattern is None else pattern, codes])


def _nearest(values: Array64, wanted: Array64) -> npt.NDArray[np.int64]:
    """Places in increasing ``values`` of what is nearest."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, wanted)
