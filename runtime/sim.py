"""The simulated chip behind the :class:`~pimc.runtime.device.Device` protocol."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip import Chip
from pimc.converters import plane_weights
from pimc.runtime.adc import Adc
from pimc.runtime.bank import Bank, bank_of
from pimc.runtime.dac import bit_planes, noise_drive
from pimc.runtime.device import Region, Saturation
from pimc.runtime.die import Die


@dataclass(frozen=True)
class _Loaded:
    """A bank as tensors, ready to multiply, rows last; and the converters behind it."""

    g: torch.Tensor
    variance: torch.Tensor | None
    reference_variance: torch.Tensor | None
    read_of_column: torch.Tensor
    reads: int
    adc: Adc

    @staticmethod
    def of(bank: Bank, adc: Adc, device: torch.device) -> _Loaded:
        def by_column(values: npt.NDArray[np.float32]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 2, 1))).to(device)

        variance, reference = bank.variance, bank.reference_variance
        return _Loaded(
            by_column(bank.g_us),
            None if variance is None else by_column(variance),
            None if reference is None else by_column(reference),
            torch.from_numpy(bank.read_of_column).to(device),
            bank.reads,
            adc,
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

    Attributes:
        reads: array reads so far: activations of one array by one input vector, or by one bit
            plane of it.

    Raises:
        DeviceError: the die is one of another chip.
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
    ) -> None:
        die.attach(chip, arrays)
        self.die = die
        self.chip = chip
        self.converters = converters
        self.reads = 0
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed((die.seed * 0x9E3779B97F4A7C15 + read_seed + 1) % 2**63)
        self._banks: WeakKeyDictionary[Region, _Loaded] = WeakKeyDictionary()
        self._conversions: dict[str, int] = {}
        self._clipped: dict[str, torch.Tensor] = {}

    @property
    def name(self) -> str:
        """Which specimen this is."""
        return self.die.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; see :class:`~pimc.runtime.device.Device`."""
        self.die.program(cells, levels)
        self._banks.clear()
        return np.ones(len(cells), dtype=np.bool_)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold."""
        return self.die.cells.level.reshape(-1)[cells].astype(np.int64)

    @property
    def saturation(self) -> dict[str, Saturation]:
        """What the converters of each layer met so far."""
        return {
            name: Saturation(count, int(self._clipped[name]))
            for name, count in self._conversions.items()
        }

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes; see :class:`~pimc.runtime.device.Device`."""
        if self.chip.dac.mode != "bit_serial":
            return self._read_once(region, inputs)
        batch, _, _, positions = inputs.shape
        blocks, _, columns = region.cells.shape
        total = torch.zeros(batch, blocks, columns, positions, device=self.device)
        for weight, driven in bit_planes(inputs, plane_weights(self.chip, region.signed)):
            total.add_(self._read_once(region, driven), alpha=weight)
        return total

    def _read_once(self, region: Region, driven: torch.Tensor) -> torch.Tensor:
        """One read and its conversion."""
        bank = self._bank(region)
        self.reads += bank.reads * driven.shape[0] * driven.shape[3]
        return self._convert(region, bank, self._current(region, bank, driven))

    def _bank(self, region: Region) -> _Loaded:
        bank = self._banks.get(region)
        if bank is None:
            adc = Adc.of(self.die, region, self.device)
            bank = _Loaded.of(bank_of(self.die, region), adc, self.device)
            self._banks[region] = bank
        return bank

    def _current(self, region: Region, bank: _Loaded, driven: torch.Tensor) -> torch.Tensor:
        """Currents of one read with its noise, µS times DAC code."""
        current = torch.matmul(bank.g, driven)
        if bank.variance is not None:
            # Independent Gaussian noise of the cells sums to Gaussian noise of the output
            # with variance Σ x² σ², so one draw an output is exact.
            drive = noise_drive(self.chip, region.signed, driven)
            self._add_noise(current, torch.matmul(bank.variance, drive))
            if bank.reference_variance is not None:
                common = torch.matmul(bank.reference_variance, drive)
                self._add_common(current, common, bank.read_of_column)
        return current

    def _convert(self, region: Region, bank: _Loaded, current: torch.Tensor) -> torch.Tensor:
        """Codes of one read's currents, which are overwritten; saturation is counted."""
        if not self.converters:
            return current.mul_(bank.adc.nominal)
        codes, clipped = bank.adc.convert(current)
        name = region.name
        self._conversions[name] = self._conversions.get(name, 0) + codes.numel()
        self._clipped[name] = self._clipped.get(name, clipped.new_zeros(())) + clipped
        return codes

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
