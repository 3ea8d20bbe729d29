"""The simulated chip behind the :class:`~pimc.runtime.device.Device` protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip import Chip
from pimc.converters import adc_limits, dac_limits
from pimc.runtime.bank import Bank
from pimc.runtime.banks import Banks
from pimc.runtime.device import Region
from pimc.runtime.die import Die
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.physics.iv import driven


@dataclass(frozen=True)
class _Loaded:
    """A bank as tensors, ready to multiply; rows come last."""

    g: torch.Tensor
    variance: torch.Tensor | None
    reference_variance: torch.Tensor | None
    read_of_column: torch.Tensor
    reads: int

    @staticmethod
    def of(bank: Bank, device: torch.device) -> _Loaded:
        def by_column(values: npt.NDArray[np.float32]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 2, 1))).to(device)

        variance, reference = bank.variance, bank.reference_variance
        return _Loaded(
            by_column(bank.g_us),
            None if variance is None else by_column(variance),
            None if reference is None else by_column(reference),
            torch.from_numpy(bank.read_of_column).to(device),
            bank.reads,
        )


class SimDevice:
    """A die with its converters.

    Args:
        die: the specimen; writing changes it.
        chip: its design.
        arrays: how many arrays it must have.
        read_seed: seed of the read noise, apart from the die's own.
        converters: False leaves the ADC out: currents come back unrounded and unclipped,
            which is what an ADC of enough bits would give.
        device: torch device the arithmetic runs on.
        ir_drop: how the resistance of wires is worked out, where the chip's wires have any:
            to first order, or exactly from Kirchhoff's laws.
        wears: reads disturb the die itself, where the chip says that reads disturb.

    Attributes:
        reads: array reads so far: activations of one array by one input vector.

    Raises:
        DeviceError: the die is one of another chip.
        UsageError: no such treatment of IR drop.
    """

    def __init__(
        self,
        die: Die,
        chip: Chip,
        arrays: int,
        *,
        read_seed: int = 0,
        converters: bool = True,
        device: str | torch.device = "cpu",
        ir_drop: Method = "first",
        wears: bool = True,
    ) -> None:
        die.attach(chip, arrays)
        self.die = die
        self.chip = chip
        self.converters = converters
        self.reads = 0
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)
        noise_seed = (die.seed * 0x9E3779B97F4A7C15 + read_seed + 1) % 2**63
        self._generator.manual_seed(noise_seed)
        self._banks = Banks(
            die,
            lambda bank: _Loaded.of(bank, self.device),
            noise_seed=noise_seed,
            ir_drop=ir_drop,
            wears=wears,
        )

    @property
    def name(self) -> str:
        """Which specimen this is."""
        return self.die.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; see :class:`~pimc.runtime.device.Device`."""
        return self.die.program(cells, levels)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold."""
        return self.die.cells.level.reshape(-1)[cells].astype(np.int64)

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes; see :class:`~pimc.runtime.device.Device`."""
        parts = [self._read(region, bank, part) for bank, part in self._banks.over(region, inputs)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _read(self, region: Region, bank: _Loaded, inputs: torch.Tensor) -> torch.Tensor:
        """Codes of inputs that all meet the same bank."""
        if not self.die.perfect:
            high = dac_limits(self.chip, region.signed)[1]
            inputs = driven(inputs, high, self.chip.cell.iv_alpha)
        self.reads += bank.reads * inputs.shape[0] * inputs.shape[3]
        if inputs.shape[3] == 1:
            # One vector a sample: side by side they are one product instead of many.
            return self._codes(region, bank, inputs.transpose(0, 3)).transpose(0, 3)
        return self._codes(region, bank, inputs)

    def _codes(self, region: Region, bank: _Loaded, inputs: torch.Tensor) -> torch.Tensor:
        current = torch.matmul(bank.g, inputs)
        if bank.variance is not None:
            # Independent Gaussian noise of the cells sums to Gaussian noise of the output
            # with variance Σ x² σ², so one draw an output is exact.
            square = inputs.square()
            self._add_noise(current, torch.matmul(bank.variance, square))
            if bank.reference_variance is not None:
                common = torch.matmul(bank.reference_variance, square)
                self._add_common(current, common, bank.read_of_column)
        if not self.converters:
            return current / region.lsb_us
        low, high = adc_limits(self.chip, region.signed)
        return current.mul_(1.0 / region.lsb_us).round_().clamp_(low, high)

    def _add_noise(self, current: torch.Tensor, variance: torch.Tensor) -> None:
        noise = torch.randn(
            current.shape, generator=self._generator, device=self.device, dtype=current.dtype
        )
        current.addcmul_(noise, variance.sqrt_())

    def _add_common(
        self, current: torch.Tensor, variance: torch.Tensor, which: torch.Tensor
    ) -> None:
        """Noise of the reference columns: one draw a read and vector, for all its columns."""
        noise = torch.zeros_like(variance)
        self._add_noise(noise, variance)
        current.sub_(noise.gather(2, which[None, :, :, None].expand_as(current)))
