"""A bank made ready: as tensors for the torch path, in fixed point for the fused read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.design import Chip
from pimc.runtime.die.bank import Bank
from pimc.runtime.die.die import Die
from pimc.runtime.die.fixed import FixedBank, fits
from pimc.runtime.die.region import Region
from pimc.runtime.read.adc import Adc
from pimc.runtime.read.fused import FusedBank


@dataclass(frozen=True)
class Loaded:
    """A bank as tensors, ready to multiply, rows last; and the converters behind it.

    Attributes:
        fused: the same for the fused read; None where codes are too large for fixed point.
        shift: the drive's squares are rounded as they are there.
    """

    g: torch.Tensor
    variance: torch.Tensor | None
    reference_variance: torch.Tensor | None
    read_of_column: torch.Tensor
    reads: int
    adc: Adc
    fused: FusedBank | None
    shift: int


@dataclass(frozen=True)
class Loader:
    """Makes ready what a device reads; apart from the device, which would else hold itself."""

    die: Die
    chip: Chip
    converters: bool
    device: torch.device

    def __call__(self, region: Region, bank: Bank) -> Loaded:
        """What a bank is read with."""

        def by_column(values: npt.NDArray[np.float32]) -> torch.Tensor:
            turned = np.ascontiguousarray(values.transpose(0, 2, 1))
            return torch.from_numpy(turned).to(self.device)

        adc, fused, shift = Adc.of(self.die, region, self.device), None, 0
        if self.converters and fits(self.chip, region.signed):
            fixed = FixedBank.of(bank, self.chip, region.signed)
            fused, shift = FusedBank(fixed, adc, bank.read_of_column), fixed.shift
            bank = fixed.rounded(bank)
        variance, common = bank.variance, bank.reference_variance
        return Loaded(
            by_column(bank.g_us),
            None if variance is None else by_column(variance),
            None if common is None else by_column(common),
            torch.from_numpy(bank.read_of_column).to(self.device),
            bank.reads,
            adc,
            fused,
            shift,
        )
