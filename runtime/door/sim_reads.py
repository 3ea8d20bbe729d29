"""How a simulated chip is read: the arithmetic of :class:`~pimc.runtime.door.sim.SimDevice`.

A module of its own, so that dies are written, aged and saved where torch is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from pimc.chip.converters import plane_weights
from pimc.image.image import ImageLayer
from pimc.runtime.die.banks import Banks
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.die.site import curves
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.read.dac import driven_planes
from pimc.runtime.read.digital_side import DigitalSide
from pimc.runtime.read.fused import Draws, FusedLayer
from pimc.runtime.read.loaded import Loaded, can_fuse
from pimc.runtime.read.noise import vector_keys
from pimc.runtime.read.own import Vectors
from pimc.work.parts import parts

if TYPE_CHECKING:
    from pimc.runtime.door.sim import Tally


#: Currents of a single sample that are worked out at once: each takes tens of bytes.
_AT_ONCE = 1 << 24


class SimReads:
    """Reads of a die through its converters.

    Args:
        banks: the die's, as they hold at each sample.
        tally: what is counted while it is read.
        key: of the read noise, from :func:`~pimc.runtime.physics.streams.read_key`.

    The others are those of :class:`~pimc.runtime.door.sim.SimDevice`.
    """

    def __init__(
        self,
        die: Die,
        banks: Banks[Loaded],
        tally: Tally,
        *,
        key: tuple[int, int],
        converters: bool,
        device: str | torch.device,
        ir_drop: Method,
        fused: bool,
    ) -> None:
        self._chip = die.attached()
        self._banks = banks
        self._tally = tally
        self._key = key
        self._converters = converters
        self._device = torch.device(device)
        fuses = fused and converters and self._device.type == "cpu"
        self._fuses = fuses and can_fuse(die) and not curves(die, ir_drop)
        self._fused: WeakKeyDictionary[Region, FusedLayer] = WeakKeyDictionary()
        self._last: Loaded | None = None

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes."""
        parts = [
            self._read(region, bank, part, first)
            for bank, part, first in self._banks.over(region, inputs, inputs.shape[3])
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def reads_whole(self, layer: ImageLayer) -> bool:
        """Whether a layer is read from its input to its output in one go."""
        return self._fuses and FusedLayer.fits(self._chip, layer)

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor:
        """A whole layer's outputs for its input."""
        fused = self._fused.get(region)
        if fused is None:
            fused = self._fused[region] = FusedLayer(self._chip, layer)
        planes, parts = len(plane_weights(self._chip, region.signed)), []
        vectors = fused.phases * fused.vectors(x)
        for bank, part, first in self._banks.over(region, x, vectors, fused.stress):
            assert bank.fused is not None  # that is what reads_whole asked
            draws = Draws(self._key, region.number, first)
            codes, clipped = fused.read(bank.fused, part, draws, side)
            parts.append(codes)
            count = planes * len(part) * vectors
            self._tally.reads += bank.reads * count
            self._tally.add(region.name, count * bank.read_of_column.numel(), torch.tensor(clipped))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _read(self, region: Region, bank: Loaded, inputs: torch.Tensor, first: int) -> torch.Tensor:
        """Codes of inputs that all meet the same bank, shifted and added over bit planes."""
        if self._last is not bank:
            if self._fuses and self._last is not None:
                # Layers are read in one go: codes are looked at layer by layer.
                self._last.let_go()
            self._last = bank
        if inputs.shape[3] == 1:
            # One vector a sample: side by side they are one product instead of many.
            turned = inputs.transpose(0, 3)
            return self._in_parts(region, bank, turned, first).transpose(0, 3)
        return self._in_parts(region, bank, inputs, first)

    def _in_parts(
        self, region: Region, bank: Loaded, inputs: torch.Tensor, first: int
    ) -> torch.Tensor:
        """Some vectors of a single sample after others, where their currents would be large."""
        vectors = inputs.shape[3]
        together = list(parts(vectors, bank.read_of_column.numel(), _AT_ONCE))
        if inputs.shape[0] > 1 or len(together) <= 1:
            return self._read_planes(region, bank, inputs, first)
        codes = torch.empty(*bank.read_of_column.shape, vectors, device=self._device)[None]
        for some in together:
            part = inputs[:, :, :, some]
            codes[:, :, :, some] = self._read_planes(region, bank, part, first + some.start)
        return codes

    def _read_planes(
        self, region: Region, bank: Loaded, inputs: torch.Tensor, first: int
    ) -> torch.Tensor:
        weights = plane_weights(self._chip, region.signed)
        keys = None
        if bank.noisy:
            count = inputs.shape[0] * inputs.shape[3]
            keys = vector_keys(self._key, region.number, first, count).to(self._device)
        if self._chip.dac.mode != "bit_serial":
            return self._read_once(region, bank, inputs, keys, Vectors(first, 0))
        batch, blocks, _, positions = inputs.shape
        columns = bank.read_of_column.shape[1]
        total = torch.zeros(batch, blocks, columns, positions, device=self._device)
        for plane, (weight, bits) in enumerate(driven_planes(inputs, weights)):
            codes = self._read_once(region, bank, bits, keys, Vectors(first, plane))
            total.add_(codes, alpha=weight)
        return total

    def _read_once(
        self,
        region: Region,
        bank: Loaded,
        inputs: torch.Tensor,
        keys: torch.Tensor | None,
        at: Vectors,
    ) -> torch.Tensor:
        """One read and its conversion."""
        self._tally.reads += bank.reads * inputs.shape[0] * inputs.shape[3]
        current = bank.currents(inputs, keys, at)
        if not self._converters:
            return current.mul_(bank.adc.nominal)
        own = bank.own
        if own is None:
            codes, clipped = bank.adc.convert(current)
        else:
            codes, clipped = bank.adc.convert(current, lambda values: own.converted(values, at))
        self._tally.add(region.name, codes.numel(), clipped)
        return codes
