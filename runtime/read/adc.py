"""The column converters of a simulated die: range, errors of gain and offset, saturation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import adc_limits
from pimc.chip.design import Chip
from pimc.runtime.die.die import Die, Stream
from pimc.runtime.die.region import Region
from pimc.runtime.physics import philox

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Adc:
    """The converters of one region; tensors are (blocks, columns, 1).

    Attributes:
        nominal: codes a µS times DAC code: 1 / LSB.
        rate: the same with each column's gain.
        offset: codes added before rounding.
        limits: smallest and largest code.
    """

    nominal: torch.Tensor | float = field(repr=False)
    rate: torch.Tensor | float = field(repr=False)
    offset: torch.Tensor | float = field(repr=False)
    limits: tuple[int, int]

    @staticmethod
    def of(die: Die, region: Region, device: torch.device) -> Adc:
        """The converters that a die has for a region."""

        def tensor(values: npt.NDArray[np.floating]) -> torch.Tensor | float:
            if values.ndim == 0:
                return float(values)
            return torch.from_numpy(values.astype(np.float32))[:, :, None].to(device)

        chip, column = die.attached(), columns_of(die.attached(), region)
        nominal = 1.0 / np.asarray(region.lsb_us, np.float64)
        gain = chip.adc.gain_error > 0 and not die.perfect
        offset = chip.adc.offset_error_lsb > 0 and not die.perfect
        return Adc(
            tensor(nominal),
            tensor(nominal * adc_gain(die, column)) if gain else tensor(nominal),
            tensor(adc_offset_lsb(die, column)) if offset else 0.0,
            adc_limits(chip, region.signed),
        )

    def convert(
        self,
        current: torch.Tensor,
        altered: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes for currents (batch, blocks, columns, positions), which are overwritten.

        Args:
            altered: what becomes of the values before they are rounded.

        Returns:
            The codes, and how many of them lay outside the range.
        """
        rounded = current.mul_(self.rate)
        if isinstance(self.offset, torch.Tensor):
            rounded.add_(self.offset)
        rounded = altered(rounded).round_()
        codes = rounded.clamp(*self.limits)
        return codes, (codes != rounded).sum()


def adc_gain(die: Die, column: npt.NDArray[np.int64]) -> Array64:
    """Gain of the converters of physical columns (``array · array_cols + bitline``)."""
    draws = philox.normal(die.seed, Stream.ADC_GAIN, column)
    return np.maximum(1.0 + die.attached().adc.gain_error * draws, 0.0)


def adc_offset_lsb(die: Die, column: npt.NDArray[np.int64]) -> Array64:
    """Offset of the converters of physical columns in codes."""
    draws = philox.normal(die.seed, Stream.ADC_OFFSET, column)
    return die.attached().adc.offset_error_lsb * draws


def columns_of(chip: Chip, region: Region) -> npt.NDArray[np.int64]:
    """(blocks, columns): number of each physical column, ``array · array_cols + bitline``."""
    # All cells of a column lie on one bitline; padding is −1.
    cell = region.cells.max(axis=1)
    columns: npt.NDArray[np.int64] = (
        cell // (chip.array.rows * chip.array.cols) * chip.array.cols + cell % chip.array.cols
    )
    return columns
