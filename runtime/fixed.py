"""Fixed-point banks: what cells hold and fluctuate by, as 16-bit whole numbers.

A read is exact in them: products with whole drives are whole, and their sums over a column fit
into 32 bits, in whatever order they are added. The rounding is to about 1/8000 of the largest
conductance or finer, hundreds of times below what writing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.converters import plane_full_scale
from pimc.runtime.bank import Bank

#: Largest DAC code that fixed-point banks are made for.
LARGEST_CODE = 1023
_LARGEST = 2**15 - 1
_SUM = 2**31 - 1

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Fixed:
    """Numbers ``whole · quantum``; a column's products with any drive fit into 32 bits."""

    whole: npt.NDArray[np.int16] = field(repr=False)
    quantum: float

    @staticmethod
    def of(values: Floats, largest: int, step: float | None = None) -> Fixed:
        """The nearest fixed-point numbers for values (blocks, rows, columns).

        Args:
            largest: largest magnitude that a row is driven with.
            step: where it is given, its multiples are held exactly.
        """
        exact = values.astype(np.float64)
        magnitude = np.abs(exact)
        # Rounding may add half a quantum a row to a column's sum.
        spare = exact.shape[1] * largest / 2
        quantum = max(
            float(magnitude.max(initial=0.0)) / _LARGEST,
            float(magnitude.sum(axis=1).max(initial=0.0)) * largest / (_SUM - spare),
        )
        if quantum == 0.0:
            return Fixed(np.zeros(values.shape, np.int16), 1.0)
        if step is not None and step >= quantum:
            quantum = step / int(step / quantum)
        return Fixed(np.rint(exact / quantum).astype(np.int16), quantum)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The numbers themselves."""
        return (self.whole * self.quantum).astype(np.float32)


@dataclass(frozen=True)
class FixedBank:
    """A bank in fixed point; see :class:`~pimc.runtime.bank.Bank`.

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
            return None if values is None else Fixed.of(values, square)

        return FixedBank(
            Fixed.of(bank.g_us, largest, step),
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
