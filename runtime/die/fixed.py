"""Fixed-point banks: what cells hold and fluctuate by, as 16-bit whole numbers.

A read is exact in them: products with whole drives are whole, and their sums over a column fit
into 32 bits, in whatever order they are added. A quantum is 1/32,766 of the largest conductance,
or more where a column's sum demands it: 128 rows driven with 8 bits have room for 2³¹/255, 65,800
quanta a row. Evenly spaced levels behind a reference column are multiples of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import dac_limits, plane_full_scale
from pimc.chip.design import Chip
from pimc.runtime.die.bank import Bank

#: Largest DAC code that fixed-point banks are made for.
LARGEST_CODE = 1023
#: One below what 16 bits hold, for what is carried.
_LARGEST = 2**15 - 2
_SUM = 2**31 - 1

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Fixed:
    """Numbers ``whole · quantum``; a column's products with any drive fit into 32 bits."""

    whole: npt.NDArray[np.int16] = field(repr=False)
    quantum: float

    @staticmethod
    def nearest(values: Floats, largest: int, step: float | None = None) -> Fixed:
        """The nearest fixed-point numbers for values (blocks, rows, columns).

        Args:
            largest: largest magnitude that a row is driven with.
            step: where it is given, its multiples are held exactly.
        """
        quantum = _quantum(values, largest)
        if step is not None and step >= quantum > 0.0:
            quantum = step / int(step / quantum)
        return Fixed(np.rint(_units(values, quantum)).astype(np.int16), quantum or 1.0)

    @staticmethod
    def carried(values: Floats, largest: int) -> Fixed:
        """Fixed-point numbers whose sums down every column are right, for values of 0 or more.

        What rounding leaves is carried on to the next row, so that many small values do not
        vanish one by one.
        """
        quantum = _quantum(values, largest)
        sums = np.rint(np.cumsum(_units(values, quantum), axis=1))
        return Fixed(np.diff(sums, axis=1, prepend=0.0).astype(np.int16), quantum or 1.0)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The numbers themselves."""
        return (self.whole * self.quantum).astype(np.float32)


def _quantum(values: Floats, largest: int) -> float:
    """The least unit in which no number and no column's sum overflows; 0 for nothing but zeros."""
    magnitude: npt.NDArray[np.float64] = np.abs(values.astype(np.float64))
    # Rounding may add up to one unit a row to a column's sum.
    spare = values.shape[1] * largest
    by_size = float(magnitude.max(initial=0.0)) / _LARGEST
    by_sum = float(magnitude.sum(axis=1).max(initial=0.0)) * largest / (_SUM - spare)
    return by_sum if by_sum > by_size else by_size


def _units(values: Floats, quantum: float) -> npt.NDArray[np.float64]:
    return values.astype(np.float64) / (quantum or 1.0)


@dataclass(frozen=True)
class FixedBank:
    """A bank in fixed point; see :class:`~pimc.runtime.die.bank.Bank`.

    Attributes:
        shift: squares of the drive are rounded to multiples of ``2**shift``, so that they fit
            into 15 bits.
        square_unit: what one unit of the squares counts, DAC codes squared.
    """

    current: Fixed
    variance: Fixed | None
    common: Fixed | None
    shift: int
    square_unit: float

    @staticmethod
    def of(bank: Bank, chip: Chip, signed: bool) -> FixedBank:
        """The fixed-point form of a bank for the drives of a layer."""
        largest = plane_full_scale(chip, signed)
        pulses = chip.dac.mode == "pulse_count"
        shift = 0 if pulses else max(0, (largest**2).bit_length() - 15)
        square = largest if pulses else (largest**2 + (1 << shift >> 1)) >> shift
        levels = chip.cell.g_levels_us
        step = levels[1] - levels[0] if chip.cell.spacing == "linear" else None

        def squared(values: npt.NDArray[np.float32] | None) -> Fixed | None:
            return None if values is None else Fixed.carried(values, square)

        return FixedBank(
            Fixed.nearest(bank.g_us, largest, step),
            squared(bank.variance),
            squared(bank.reference_variance),
            shift,
            float(largest if pulses else 1 << shift),
        )

    def rounded(self, bank: Bank) -> Bank:
        """``bank`` with the numbers that fixed point can hold."""
        variance, common = self.variance, self.common
        return replace(
            bank,
            g_us=self.current.values,
            variance=None if variance is None else variance.values,
            reference_variance=None if common is None else common.values,
        )


def fits(chip: Chip, signed: bool) -> bool:
    """Whether wordlines are driven with whole numbers small enough for fixed point."""
    return chip.cell.iv_alpha == 0 and dac_limits(chip, signed)[1] <= LARGEST_CODE
