"""One layer on the array: DAC, read, ADC, and the digital sum behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F

from pimc.chip.converters import dac_limits, two_phases
from pimc.chip.design import Chip
from pimc.errors import ImageError
from pimc.image.drift import compensation_at
from pimc.image.image import Image, ImageLayer
from pimc.plan.vectors import refold, takes, unfold
from pimc.runtime.die.region import Region
from pimc.runtime.digital import Digital, as_read
from pimc.runtime.door.abilities import ReadsLayers, Rectifies
from pimc.runtime.door.device import Device


@dataclass(frozen=True)
class Record:
    """What one read of a layer saw and gave, for captures.

    Attributes:
        inputs: (batch, blocks, row_block, positions) DAC codes on the wordlines.
        codes: (batch, blocks, columns, positions) ADC codes.
    """

    inputs: torch.Tensor
    codes: torch.Tensor


@dataclass(frozen=True, eq=False)
class CrossbarLayer:
    """A layer bound to the device that holds it."""

    layer: ImageLayer
    chip: Chip
    region: Region
    device: Device
    digital: Digital = field(repr=False)

    @staticmethod
    def of(
        image: Image,
        layer: ImageLayer,
        device: Device,
        torch_device: str,
        age_s: float | None = None,
    ) -> CrossbarLayer:
        """Bind one layer of an image to a device.

        Args:
            age_s: how long ago its cells were written; None: not known, or of no concern.
        """
        note = image.drift if age_s is not None else None
        drift = compensation_at(layer, note.ages_s, age_s) if note and age_s else None
        digital = Digital.of(image, layer, torch.device(torch_device), drift)
        return CrossbarLayer(layer, image.chip, Region.of(image, layer), device, digital)

    @cached_property
    def _whole(self) -> ImageLayer:
        """The layer as a device gets it that reads whole layers."""
        return as_read(self.layer)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for its input, both in the shapes of the ONNX graph.

        Raises:
            ImageError: the graph gives the layer an input that it cannot take.
        """
        layer = self.layer
        if not takes(layer.window, layer.groups * layer.rows, tuple(x.shape)):
            message = f"an input of shape {list(x.shape)} does not fit its rows or window"
            raise ImageError(message, f"layer {layer.name}", "compile the model again")
        y = self._read_layer(x)
        return self.record(x)[0] if y is None else y

    def rectified(self, x: torch.Tensor) -> torch.Tensor | None:
        """Relu of the layer's output; None where the device does not read whole layers so."""
        layer, device, side = self.layer, self.device, self.digital.rectified
        if side is None or not isinstance(device, Rectifies) or not device.rectifies:
            return None
        if not isinstance(device, ReadsLayers) or not device.reads_whole(layer):
            return None
        if not takes(layer.window, layer.groups * layer.rows, tuple(x.shape)):
            return None
        return refold(device.read_layer(self.region, layer, x, side), x, layer.window)

    def record(self, x: torch.Tensor) -> tuple[torch.Tensor, Record]:
        """The layer's output, and what the arrays saw and gave."""
        inputs, step = self.convert(x)
        blocks = self.blocks(inputs)
        codes = self._read(blocks)
        grouped = inputs.unflatten(1, (self.layer.groups, self.layer.rows))
        y = self._sum(codes, blocks, grouped, step)
        return refold(y, x, self.layer.window), Record(blocks, codes)

    def convert(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | float]:
        """DAC codes (batch, g·k, positions), and the input units of one code.

        With a static range the unit is one number; else (batch, g·n or 1, positions): every
        vector of a group is brought to full scale on its own.
        """
        layer = self.layer
        if layer.input_scale is not None:
            # Rounded before it is cut into overlapping windows, which repeat every value.
            return unfold(self._static(x, layer.input_scale), layer.window), layer.input_scale
        return self._dynamic(unfold(x, layer.window), self._peaks(x))

    def lines_of(self, vectors: torch.Tensor) -> torch.Tensor:
        """DAC codes of all wordlines for input vectors that are cut out already.

        Args:
            vectors: (vectors, g·k).

        Returns:
            (groups · row_blocks, row_block, vectors).
        """
        scale, cut = self.layer.input_scale, vectors.T[None]
        if scale is None:
            codes = self._dynamic(cut, self._grouped(cut).abs().amax(dim=2))[0]
        else:
            codes = self._static(cut, scale)
        return self.blocks(codes)[0]

    def _static(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        return (x / scale).round_().clamp_(*dac_limits(self.chip, self.layer.input_signed))

    def _grouped(self, vectors: torch.Tensor) -> torch.Tensor:
        grouped: torch.Tensor = vectors.unflatten(1, (self.layer.groups, self.layer.rows))
        return grouped

    def _peaks(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, groups, positions) the largest magnitude of every input vector of a group."""
        layer = self.layer
        if layer.window is None:
            return self._grouped(unfold(x, None)).abs().amax(dim=2)
        # Of channels first, so that windows have few of them to look at.
        largest = x.unflatten(1, (layer.groups, -1)).abs().amax(dim=2)
        taps: torch.Tensor = unfold(largest, layer.window).unflatten(1, (layer.groups, -1))
        return taps.amax(dim=2)

    def _dynamic(
        self, vectors: torch.Tensor, peaks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layer = self.layer
        low, high = dac_limits(self.chip, layer.input_signed)
        step = peaks / high
        least = step[:, :, None].clamp_min(torch.finfo(vectors.dtype).tiny)
        codes = (self._grouped(vectors) / least).round_().clamp_(low, high)
        return codes.flatten(1, 2), step.repeat_interleave(layer.cols, dim=1)

    def blocks(self, codes: torch.Tensor) -> torch.Tensor:
        """DAC codes of all wordlines: (batch, groups · row_blocks, row_block, positions)."""
        layer = self.layer
        padding = layer.row_blocks * layer.row_block - layer.wordlines
        lines = self._driven(codes.unflatten(1, (layer.groups, layer.rows)))
        if padding:
            lines = F.pad(lines, (0, 0, 0, padding))
        return lines.reshape(
            codes.shape[0], layer.groups * layer.row_blocks, layer.row_block, codes.shape[2]
        )

    def outputs_of(self, codes: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """Outputs (batch, groups · cols, positions) for ADC codes and row blocks of DAC codes.

        With a dynamic range the unit is one DAC code. Where a weight takes several wordlines
        that are not driven by one input, the input is the mean of what each was driven for.
        """
        inputs = self._inputs(self._lines(blocks))
        return self._sum(codes, blocks, inputs, self.layer.input_scale or 1.0)

    def _lines(self, blocks: torch.Tensor) -> torch.Tensor:
        """What all wordlines get, (batch, groups, wordlines, positions): blocks put together."""
        layer = self.layer
        grouped: torch.Tensor = blocks.unflatten(1, (layer.groups, layer.row_blocks))
        return grouped.flatten(2, 3)[:, :, : layer.wordlines]

    def _driven(self, grouped: torch.Tensor) -> torch.Tensor:
        """What inputs (batch, groups, rows, positions) put on (…, wordlines, positions)."""
        drive = self.digital.drive
        return grouped if drive is None else (grouped[:, :, :, None] * drive).flatten(2, 3)

    def _inputs(self, lines: torch.Tensor) -> torch.Tensor:
        """Inputs (batch, groups, rows, positions) that drive wordlines like this."""
        drive = self.digital.drive
        if drive is None:
            return lines
        by_row: torch.Tensor = lines.unflatten(2, (self.layer.rows, -1))
        return (by_row / drive).mean(dim=3)

    def _read(self, blocks: torch.Tensor) -> torch.Tensor:
        if two_phases(self.chip, self.layer.input_signed):
            # In one read, so that a sample of the batch is one sample to the device as well.
            phases = torch.cat([blocks.clamp_min(0), (-blocks).clamp_min(0)], dim=3)
            positive, negative = self.device.read(self.region, phases).chunk(2, dim=3)
            return positive - negative
        return self.device.read(self.region, blocks)

    def _sum(
        self,
        codes: torch.Tensor,
        blocks: torch.Tensor,
        inputs: torch.Tensor,
        step: torch.Tensor | float,
    ) -> torch.Tensor:
        """(batch, g·n, positions): tiles added, planes combined, pedestals taken off."""
        layer, digital = self.layer, self.digital
        current: torch.Tensor = codes.unflatten(1, (layer.groups, layer.row_blocks)).sum(dim=2)
        current = current * digital.lsb
        if digital.row_correction is not None:
            common = torch.matmul(digital.row_correction, self._lines(blocks))
            current = current - common[:, :, digital.block_of_bitline]
        current = self._combined(current).flatten(1, 2)
        if digital.pedestal is not None:
            total = inputs.sum(dim=2).repeat_interleave(layer.cols, dim=1)
            current = current - digital.pedestal * total
        if digital.residual is not None:
            current = current + torch.matmul(digital.residual, inputs).flatten(1, 2)
        return current * (digital.scale * step) + digital.bias

    def _combined(self, current: torch.Tensor) -> torch.Tensor:
        """(batch, groups, outputs, …) for currents (batch, groups, bitlines, …)."""
        layer, factors = self.layer, self.digital.factors
        if len(factors) == 1:
            return current
        apart = layer.layout == "arrays"
        planes = current.unflatten(2, (-1, layer.cols) if apart else (layer.cols, -1))
        by_output: torch.Tensor = planes.transpose(2, 3) if apart else planes
        return (by_output * factors).sum(dim=3)

    def _read_layer(self, x: torch.Tensor) -> torch.Tensor | None:
        """The layer's output where the device reads whole layers, else None."""
        layer, whole, digital, device = self.layer, self._whole, self.digital, self.device
        if not isinstance(device, ReadsLayers) or not device.reads_whole(whole):
            return None
        by_vector, inputs = whole is not layer, None
        step: torch.Tensor | float = layer.input_scale or 1.0
        if by_vector or digital.residual is not None:
            inputs, step = self.convert(x)
        given = x if inputs is None or not by_vector else inputs
        if by_vector and whole.window is None:
            given = given.transpose(1, 2)
        y = device.read_layer(self.region, whole, given, digital.side)
        if len(digital.factors) > 1:
            current = self._combined(y.unflatten(1, (layer.groups, layer.bitlines)))
            y = current.flatten(1, 2) * (digital.scale * step) + digital.bias
        elif by_vector:
            y = y * step + digital.bias
        if digital.residual is not None and inputs is not None:
            grouped = inputs.unflatten(1, (layer.groups, layer.rows))
            added = torch.matmul(digital.residual, grouped).flatten(1, 2)
            y = y + added * (digital.scale * step)
        return refold(y, x, layer.window)
