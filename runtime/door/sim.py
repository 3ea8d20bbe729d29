"""The simulated chip behind the :class:`~pimc.runtime.door.device.Device` protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import dac_limits, plane_weights
from pimc.chip.design import Chip
from pimc.errors import DeviceError
from pimc.image.image import ImageLayer
from pimc.runtime.die.bank import Bank
from pimc.runtime.die.banks import Banks
from pimc.runtime.die.die import Die
from pimc.runtime.die.fixed import FixedBank, fits
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Saturation
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.physics.iv import driven
from pimc.runtime.physics.streams import READ_REFERENCE
from pimc.runtime.read.adc import Adc
from pimc.runtime.read.dac import driven_planes, noise_drive
from pimc.runtime.read.digital_side import DigitalSide
from pimc.runtime.read.fused import Draws, FusedBank, FusedLayer
from pimc.runtime.read.noise import normals, pairs, read_key, vector_keys


@dataclass(frozen=True)
class _Loaded:
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
class _Loader:
    """Makes ready what a device reads; apart from the device, which would else hold itself."""

    die: Die
    chip: Chip
    converters: bool
    device: torch.device

    def __call__(self, region: Region, bank: Bank) -> _Loaded:
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
        return _Loaded(
            by_column(bank.g_us),
            None if variance is None else by_column(variance),
            None if common is None else by_column(common),
            torch.from_numpy(bank.read_of_column).to(self.device),
            bank.reads,
            adc,
            fused,
            shift,
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
        fused: layers may be read from their input to code sums in one go, where the processor
            can; the torch path gives the same up to float rounding.

    Attributes:
        reads: array reads so far: activations of one array by one input vector, or by one bit
            plane of it.

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
        fused: bool = True,
    ) -> None:
        die.attach(chip, arrays)
        self.die = die
        self.chip = chip
        self.converters = converters
        self.reads = 0
        self.device = torch.device(device)
        self._ir_drop: Method = ir_drop
        self._key = read_key(die.seed, read_seed)
        self._banks: Banks[_Loaded] = Banks(
            die,
            _Loader(die, chip, converters, self.device),
            noise_seed=self._key[0] | self._key[1] << 32,
            ir_drop=ir_drop,
            wears=wears,
        )
        self._fuses = fused and converters and self.device.type == "cpu"
        self._fused: WeakKeyDictionary[Region, FusedLayer] = WeakKeyDictionary()
        self._conversions: dict[str, int] = {}
        self._clipped: dict[str, torch.Tensor] = {}

    @property
    def name(self) -> str:
        """Which specimen this is."""
        return self.die.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; see :class:`~pimc.runtime.door.device.Device`."""
        return self.die.program(cells, levels)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold."""
        return self.die.cells.level.reshape(-1)[cells].astype(np.int64)

    def times_written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See :class:`~pimc.runtime.door.endurance.CountsWrites`."""
        return self.die.cells.writes.reshape(-1)[cells].astype(np.int64)

    def observer(self, read_seed: int) -> SimDevice:
        """The same chip, read alike with noise of its own, and not worn by it."""
        arrays = len(self.die.cells.level)
        return SimDevice(
            self.die,
            self.chip,
            arrays,
            read_seed=read_seed,
            converters=self.converters,
            device=self.device,
            ir_drop=self._ir_drop,
            wears=False,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """See :class:`~pimc.runtime.door.device.Resumable`."""
        held = {f"cells.{name}": value.copy() for name, value in vars(self.die.cells).items()}
        return held | {"reads": np.asarray([self.reads])} | self._banks.state()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """See :class:`~pimc.runtime.door.device.Resumable`."""
        for name, value in vars(self.die.cells).items():
            kept = state.get(f"cells.{name}")
            if kept is None or kept.shape != value.shape:
                raise DeviceError("this state is of another die", where=self.name)
            value[...] = kept
        self.reads = int(state["reads"][0])
        self._banks.restore(state)

    @property
    def saturation(self) -> dict[str, Saturation]:
        """What the converters of each layer met so far."""
        return {
            name: Saturation(count, int(self._clipped[name]))
            for name, count in self._conversions.items()
        }

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes; see :class:`~pimc.runtime.door.device.Device`."""
        parts = [
            self._read(region, bank, part, first)
            for bank, part, first in self._banks.over(region, inputs, inputs.shape[3])
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def reads_whole(self, layer: ImageLayer) -> bool:
        """Whether :meth:`read_layer` knows how to read a layer."""
        return self._fuses and not self._banks.disturbs and FusedLayer.fits(self.chip, layer)

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor | None:
        """See :class:`~pimc.runtime.door.device.LayerDevice`."""
        if not self.reads_whole(layer):
            return None
        fused = self._fused.get(region)
        if fused is None:
            fused = self._fused[region] = FusedLayer(self.chip, layer)
        planes, parts = len(plane_weights(self.chip, region.signed)), []
        vectors = fused.vectors(x)
        for bank, part, first in self._banks.over(region, x, vectors):
            assert bank.fused is not None  # that is what FusedLayer.fits asked
            draws = Draws(self._key, region.number, first)
            codes, clipped = fused.read(bank.fused, part, draws, side)
            parts.append(codes)
            count = planes * len(part) * vectors
            self.reads += bank.reads * count
            self._count(region, count * bank.read_of_column.numel(), torch.tensor(clipped))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _read(
        self, region: Region, bank: _Loaded, inputs: torch.Tensor, first: int
    ) -> torch.Tensor:
        """Codes of inputs that all meet the same bank, shifted and added over bit planes."""
        if inputs.shape[3] == 1:
            # One vector a sample: side by side they are one product instead of many.
            turned = inputs.transpose(0, 3)
            return self._read_planes(region, bank, turned, first).transpose(0, 3)
        return self._read_planes(region, bank, inputs, first)

    def _read_planes(
        self, region: Region, bank: _Loaded, inputs: torch.Tensor, first: int
    ) -> torch.Tensor:
        weights = plane_weights(self.chip, region.signed)
        keys = None
        if bank.variance is not None:
            count = inputs.shape[0] * inputs.shape[3]
            keys = vector_keys(self._key, region.number, first, count).to(self.device)
        if self.chip.dac.mode != "bit_serial":
            return self._read_once(region, bank, inputs, keys, 0)
        batch, blocks, _, positions = inputs.shape
        total = torch.zeros(batch, blocks, bank.g.shape[1], positions, device=self.device)
        for plane, (weight, bits) in enumerate(driven_planes(inputs, weights)):
            total.add_(self._read_once(region, bank, bits, keys, plane), alpha=weight)
        return total

    def _read_once(
        self,
        region: Region,
        bank: _Loaded,
        inputs: torch.Tensor,
        keys: torch.Tensor | None,
        plane: int,
    ) -> torch.Tensor:
        """One read and its conversion."""
        chip, full_scale = self.chip, dac_limits(self.chip, region.signed)[1]
        if chip.dac.mode == "parallel" and not self.die.perfect:
            inputs = driven(inputs, full_scale, chip.cell.iv_alpha)
        self.reads += bank.reads * inputs.shape[0] * inputs.shape[3]
        current = torch.matmul(bank.g, inputs)
        if keys is not None and bank.variance is not None:
            # Independent Gaussian noise of the cells sums to Gaussian noise of the output
            # with variance Σ x² σ², so one draw an output is exact.
            drive = noise_drive(chip, region.signed, inputs, bank.shift)
            columns, first = bank.g.shape[1], plane * len(bank.g) * pairs(bank.g.shape[1])
            noise = _noise(torch.matmul(bank.variance, drive), keys, first, pairs(columns))
            current.add_(noise)
            if bank.reference_variance is not None:
                variance = torch.matmul(bank.reference_variance, drive)
                first = READ_REFERENCE + plane * variance.shape[1] * variance.shape[2]
                shared = _common(variance, keys, first)
                which = bank.read_of_column[None, :, :, None]
                current.sub_(shared.gather(2, which.expand_as(current)))
        return self._convert(region, bank, current)

    def _convert(self, region: Region, bank: _Loaded, current: torch.Tensor) -> torch.Tensor:
        """Codes of one read's currents, which are overwritten; saturation is counted."""
        if not self.converters:
            return current.mul_(bank.adc.nominal)
        codes, clipped = bank.adc.convert(current)
        self._count(region, codes.numel(), clipped)
        return codes

    def _count(self, region: Region, conversions: int, clipped: torch.Tensor) -> None:
        name = region.name
        self._conversions[name] = self._conversions.get(name, 0) + conversions
        self._clipped[name] = self._clipped.get(name, clipped.new_zeros(())) + clipped


def _noise(
    variance: torch.Tensor, keys: torch.Tensor, first: int, pairs_a_block: int
) -> torch.Tensor:
    """Noise of columns (batch, blocks, columns, positions), from pair ``first`` on."""
    batch, blocks, columns, positions = variance.shape
    draws = normals(keys, first, blocks * pairs_a_block)
    draws = draws.reshape(blocks, 2 * pairs_a_block, batch, positions)[:, :columns]
    return draws.permute(2, 0, 1, 3) * variance.sqrt()


def _common(variance: torch.Tensor, keys: torch.Tensor, first: int) -> torch.Tensor:
    """Noise of reference columns (batch, blocks, reads, positions): a pair each, one half used."""
    batch, blocks, reads, positions = variance.shape
    draws = normals(keys, first, blocks * reads)[:, 0]
    return draws.reshape(blocks, reads, batch, positions).permute(2, 0, 1, 3) * variance.sqrt()
