"""Fixed-point banks: what cells hold as 16-bit whole numbers, what they fluctuate by in 8 bits.

A read is exact in them: products with whole drives are whole, and their sums over a column fit
into 32 bits, in whatever order they are added. A quantum is 1/32,766 of the largest conductance,
or more where a column's sum demands it: 128 rows driven with 8 bits have room for 2³¹/255, 65,800
quanta a row, with inputs that non-linear cells bend a sixteenth of that. Evenly spaced levels
behind a reference column are multiples of it.

A variance need not be as fine: half of its error is that of a noise. Both factors of its products
have 8 bits, so that a processor multiplies twice as many at a time. Every column has a quantum of
its own, and what is left of a cell's variance goes to the next row (:class:`FixedColumns`). What is
left of a square counts, too, with the variance that its row and its column have in the mean
(:class:`Typical`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import dac_limits, plane_full_scale
from pimc.chip.design import Chip
from pimc.runtime.die.bank import Bank
from pimc.runtime.physics.iv import driven_by_code
from pimc.work.parts import parts

#: Largest DAC code that fixed-point banks are made for.
LARGEST_CODE = 1023
#: One below what 16 bits hold, and 8 bits: a number that is carried may get one more.
_LARGEST = 2**15 - 2
_LARGEST_VARIANCE = 2**7 - 2
#: Largest whole number that stands for a square.
_LARGEST_SQUARE = 2**8 - 1
#: Largest whole number that stands for a drive which cells bend: its square has 24 bits.
_LARGEST_BENT = 4091
_SUM = 2**31 - 1
#: Numbers that are worked on at once: it takes tens of bytes each.
_AT_ONCE = 1 << 21

Floats = npt.NDArray[np.floating]
Array64 = npt.NDArray[np.float64]
Small = npt.NDArray[np.int16] | npt.NDArray[np.uint8]


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
        whole = np.empty(values.shape, np.int16)
        for some in _parts(values):
            whole[some] = np.rint(values[some].astype(np.float64) / (quantum or 1.0))
        return Fixed(whole, quantum or 1.0)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The numbers themselves."""
        found = np.empty(self.whole.shape, np.float32)
        for some in _parts(found):
            found[some] = self.whole[some] * self.quantum
        return found


@dataclass(frozen=True)
class FixedColumns:
    """Such numbers with a quantum a column.

    Attributes:
        quantum: (blocks, columns).
    """

    whole: Small = field(repr=False)
    quantum: Array64 = field(repr=False)

    @staticmethod
    def carried(values: Floats, largest: int, most: int) -> FixedColumns:
        """Fixed-point numbers whose sums down every column are right, for values of 0 or more.

        What rounding leaves is carried on to the next row, so that many small values do not
        vanish one by one.

        Args:
            largest: largest magnitude that a row is driven with.
            most: what the largest value of a column becomes, give or take one.
        """
        whole = np.empty(values.shape, np.uint8 if most < 2**8 - 1 else np.int16)
        quanta = np.empty((len(values), values.shape[2]))
        # Rounding may add up to one unit a row to a column's sum.
        limit = (_SUM - values.shape[1] * largest) / largest
        for some in _parts(values):
            exact = values[some].astype(np.float64)
            highest = exact.max(axis=1, initial=0.0) / most
            quantum = np.maximum(highest, exact.sum(axis=1) / limit)
            quanta[some] = np.where(quantum > 0.0, quantum, 1.0)
            sums = np.rint(np.cumsum(values[some] / quanta[some, None], axis=1))
            whole[some] = np.diff(sums, axis=1, prepend=0.0)
        return FixedColumns(whole, quanta)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The numbers themselves."""
        found = np.empty(self.whole.shape, np.float32)
        for some in _parts(found):
            found[some] = self.whole[some] * self.quantum[some, None]
        return found


def _parts(values: npt.NDArray[np.generic]) -> Iterator[slice]:
    """Some blocks after others."""
    return parts(len(values), values[:1].size, _AT_ONCE)


def _quantum(values: Floats, largest: int) -> float:
    """The least unit in which no number and no column's sum overflows; 0 for nothing but zeros."""
    high = total = 0.0
    for some in _parts(values):
        magnitude: npt.NDArray[np.float64] = np.abs(values[some].astype(np.float64))
        high = max(high, float(magnitude.max(initial=0.0)))
        total = max(total, float(magnitude.sum(axis=1).max(initial=0.0)))
    # Rounding may add up to one unit a row to a column's sum.
    spare = values.shape[1] * largest
    by_size, by_sum = high / _LARGEST, total * largest / (_SUM - spare)
    return by_sum if by_sum > by_size else by_size


@dataclass(frozen=True)
class Drives:
    """What wordlines get, as whole numbers.

    Linear cells take the codes themselves. Non-linear ones, of inputs that are amplitudes, are
    linear cells whose inputs are bent (:mod:`pimc.runtime.physics.iv`): these have fractions.

    Attributes:
        largest: the largest magnitude.
        unit: DAC codes that 1 counts: a power of two, so that float32 holds all products with it.
        bent: (codes,) by the magnitude of a code; empty where it is the code itself.
    """

    largest: int
    unit: float = 1.0
    bent: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32), repr=False)

    @staticmethod
    def of(chip: Chip, signed: bool, *, perfect: bool = False) -> Drives:
        """Those of a layer.

        Args:
            perfect: cells are linear, whatever the chip says.
        """
        high = plane_full_scale(chip, signed)
        if perfect or chip.cell.iv_alpha == 0 or chip.dac.mode != "parallel":
            return Drives(high)
        fine = 1
        while 2 * fine * high <= _LARGEST_BENT:
            fine *= 2
        bent = np.rint(driven_by_code(high, chip.cell.iv_alpha) * fine)
        return Drives(fine * high, 1 / fine, bent.astype(np.int32))


@dataclass(frozen=True)
class Squares:
    """How two times 8 bits hold what noise grows with: the drive's square, or its magnitude.

    Attributes:
        linear: it grows with the magnitude of the drive (pulses).
        shift: it is rounded to multiples of ``2**shift``, halves up.
        rest_shift: what is left is held in multiples of ``2**rest_shift``, rounded down.
        unit: what one multiple counts, DAC codes squared.
        step: DAC codes that a drive of 1 counts.
    """

    linear: bool
    shift: int
    rest_shift: int
    unit: float
    step: float = 1.0

    @staticmethod
    def of(chip: Chip, drives: Drives) -> Squares:
        """Those of a layer's drives."""
        full_scale = drives.largest
        linear, shift = chip.dac.mode == "pulse_count", 0
        largest = full_scale if linear else full_scale**2
        while (largest + (1 << shift >> 1)) >> shift > _LARGEST_SQUARE:
            shift += 1
        unit = float((full_scale if linear else 1) << shift) * drives.unit**2
        return Squares(linear, shift, max(0, shift - 8), unit, drives.unit)

    @property
    def rest_unit(self) -> float:
        """What a rest of 1 counts, in units."""
        return 2.0 ** (self.rest_shift - self.shift)


@dataclass(frozen=True)
class Typical:
    """Variances of a row and a column in the mean: their product stands for the cell's own.

    Attributes:
        rows: (blocks, rows, 1) whole numbers of 8 bits.
        columns: (blocks, columns) what to multiply them with, in the column's quanta.
    """

    rows: npt.NDArray[np.int16] = field(repr=False)
    columns: npt.NDArray[np.float32] = field(repr=False)

    @staticmethod
    def of(variance: FixedColumns) -> Typical:
        """Those of a region's cells."""
        whole, quanta = variance.whole, variance.quantum
        means, sums = np.empty((*whole.shape[:2], 1)), np.empty(quanta.shape)
        for some in _parts(whole):
            values = FixedColumns(whole[some], quanta[some]).values
            means[some] = values.astype(np.float64).mean(axis=2, keepdims=True)
            sums[some] = whole[some].sum(axis=1)
        most = float(means.max(initial=0.0)) or 1.0
        rows = np.rint(means * (_LARGEST_SQUARE / most))
        columns = sums / np.maximum(rows.sum(axis=1), 1.0)
        return Typical(rows.astype(np.int16), columns.astype(np.float32))


@dataclass(frozen=True)
class FixedBank:
    """A bank in fixed point; see :class:`~pimc.runtime.die.bank.Bank`.

    Attributes:
        drives: what it is multiplied with.
        squares: how the drive's squares are held that variances are multiplied with.
        typical: what rests of squares are multiplied with; None without noise.
    """

    drives: Drives
    current: Fixed
    variance: FixedColumns | None
    common: FixedColumns | None
    squares: Squares
    typical: Typical | None

    @staticmethod
    def of(bank: Bank, chip: Chip, drives: Drives) -> FixedBank:
        """The fixed-point form of a bank for the drives of a layer."""
        levels = chip.cell.g_levels_us
        step = levels[1] - levels[0] if chip.cell.spacing == "linear" else None

        def squared(values: npt.NDArray[np.float32] | None) -> FixedColumns | None:
            if values is None:
                return None
            return FixedColumns.carried(values, _LARGEST_SQUARE, _LARGEST_VARIANCE)

        variance = squared(bank.variance)
        return FixedBank(
            drives,
            Fixed.nearest(bank.g_us, drives.largest, step),
            variance,
            squared(bank.reference_variance),
            Squares.of(chip, drives),
            None if variance is None else Typical.of(variance),
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
    return dac_limits(chip, signed)[1] <= LARGEST_CODE
