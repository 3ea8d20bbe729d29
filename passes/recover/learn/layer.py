"""A layer whose codes, scale, bias and input range are trained, before it is cut into tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.codebook import Codebook, on_lines
from pimc.chip.converters import adc_limits, dac_limits, plane_weights, two_phases
from pimc.chip.design import Chip
from pimc.passes.layout.tile import block_size
from pimc.passes.quantize.coarse import weight_error
from pimc.passes.quantize.ranges import adc_range
from pimc.passes.quantize.rounding import Grid
from pimc.passes.recover.twin.twin import dac_codes
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Layer, Quantized
from pimc.plan.vectors import convolve, refold, sample, unfold

__all__ = ["LearnedLayer"]

#: How near the border of its code a weight begins at most, in steps between codes.
_INSIDE = 0.45
#: Input vectors that the range of the ADC is fitted to.
_VECTORS = 2048
#: Of everything drawn to fit ranges; the same as the quantizer's need not be.
_SEED = 20221117

#: Values that are trained, and the ranges that go with them.
Kept = tuple[dict[str, torch.Tensor], Quantized]


class LearnedLayer(torch.nn.Module):
    """One layer as the chip computes it, with gradients.

    Gradients pass straight through the roundings of DAC, codes and ADC (Y. Bengio et al., arXiv
    1308.3432), not through clipping.

    Attributes:
        asked_us: (groups, rows, cols) effective conductance that is asked for; the nearest code is
            written.
        widening: (groups · cols,) logarithm of what the scale has been multiplied with.
        bias: (groups · cols,) digital offset.
        coarsening: the same as ``widening`` of the input's units a DAC code.
    """

    def __init__(self, layer: Layer, quantized: Quantized, chip: Chip, book: Codebook) -> None:
        super().__init__()
        self.layer, self.quantized, self.chip, self.book = layer, quantized, chip, book
        self.limits = dac_limits(chip, quantized.input_signed)
        shape = (layer.groups, 1, layer.cols)
        values = book.values_us
        scale = quantized.scale.astype(np.float64) * quantized.gain
        zero_us = values[quantized.zero].reshape(shape)
        codes = quantized.codes[:, :, :]
        borders = (values[1:] + values[:-1]) / 2
        low, high = np.append(values[0], borders), np.append(borders, values[-1])
        centre, asked = values[codes], layer.weight.numpy() / scale.reshape(shape) + zero_us
        # Near the float weight, as far as the quantizer's own code allows.
        reach = 2 * _INSIDE
        asked = np.clip(
            asked,
            centre + reach * (low[codes] - centre),
            centre + reach * (high[codes] - centre),
        )
        self.asked_us = torch.nn.Parameter(_tensor(asked))
        self.widening = torch.nn.Parameter(torch.zeros(scale.size))
        self.bias = torch.nn.Parameter(_tensor(quantized.bias).clone())
        self.coarsening = torch.nn.Parameter(torch.zeros(()))
        self._step_us = float(np.diff(values).mean())
        self._scale, self._zero_us = _tensor(scale), _tensor(zero_us)
        self._values, self._middles = _tensor(values), _tensor(borders)
        levels_us = np.asarray(chip.cell.g_levels_us)[book.levels] - book.reference_us
        self._cells = _tensor(levels_us)
        self._sigma = _tensor(book.sigma_us)
        self._input_scale = torch.tensor(quantized.input_scale or 1.0)
        self._error = torch.zeros(())

    @property
    def spread_us(self) -> float:
        """Standard deviation of the conductances that are asked for, half a step at least."""
        asked = self.asked_us.detach()
        return max(float(asked.std(correction=0)), self._step_us / 2)

    @property
    def output_size(self) -> float:
        """What outputs are like: the root mean square of independent inputs' sums."""
        weights = (self.asked_us.detach() - self._zero_us).square()
        power = torch.einsum("gk,gkn->gn", _tensor(self.quantized.importance), weights).reshape(-1)
        return float((power.sqrt() * self._scale * self._input_scale).mean())

    def scales(self) -> list[torch.nn.Parameter]:
        """The logarithms of scales that are trained; steps that the network states are not."""
        stated = self.layer.input_steps is not None
        return [self.widening] if stated else [self.widening, self.coarsening]

    def codes(self) -> torch.Tensor:
        """(groups, rows, cols) the nearest code of every weight."""
        return torch.bucketize(self.asked_us.detach(), self._middles)

    def draw(self, generator: torch.Generator, noise: float) -> None:
        """Write the layer: its next outputs are those of one die.

        Args:
            noise: the errors, as a part of the chip's own; 0 for perfect cells.
        """
        if not noise:
            self._error = torch.zeros(())
            return
        drawn = torch.randn(self.asked_us.shape, generator=generator)
        self._error = noise * drawn * self._sigma[self.codes()]

    def forward(self, x: torch.Tensor, converters: bool = True) -> torch.Tensor:
        """The layer's output for its input, both in the shapes of the ONNX graph.

        Args:
            converters: with the ADC.
        """
        layer, window = self.layer, self.layer.window
        step = self._step()
        inputs = dac_codes(x, step, self.limits)
        codes = self.codes()
        held = self._values[codes] + self._error
        inside = self.asked_us.clamp(float(self._values[0]), float(self._values[-1]))
        matrix = inside + (held - inside).detach() - self._zero_us
        scale = self._scale * self.widening.exp() * step
        if window is None:
            y = inputs @ matrix[0]
        else:
            y = convolve(
                inputs, kernels_of_matrix(matrix, window.kernel), None, window, layer.groups
            )
        if converters:
            with torch.no_grad():
                rounding = self._rounding(inputs, codes)
            y = y + rounding
        return y * self._by_column(scale) + self._by_column(self.bias)

    def vectors(self, x: torch.Tensor) -> torch.Tensor:
        """Some vectors of DAC codes, (vectors, groups · rows), for inputs ``x``."""
        generator = torch.Generator().manual_seed(_SEED)
        vectors = sample(x.detach(), self.layer.window, _VECTORS, generator)
        return dac_codes(vectors, self._step(), self.limits).detach()

    def refit(self, vectors: torch.Tensor) -> None:
        """Fit the range of the ADC to the codes of now.

        Args:
            vectors: (vectors, groups · rows) DAC codes.
        """
        layer, quantized = self.layer, self.quantized
        some = np.linspace(0, len(vectors) - 1, min(len(vectors), _VECTORS)).astype(int)
        chosen = vectors.numpy()[some].astype(np.float64)
        grouped = chosen.reshape(-1, layer.groups, layer.rows).transpose(1, 0, 2)
        adc = adc_range(
            self.chip,
            self.book,
            self._written(),
            self._grid(),
            grouped,
            quantized.input_signed,
            np.random.default_rng([_SEED, layer.rows, layer.cols]),
        )
        self.quantized = replace(
            quantized,
            importance=np.square(grouped).mean(axis=1).astype(np.float32),
            adc_lsb_us=adc.lsb_us,
            adc_column_lsb_us=adc.column_lsb_us,
        )

    def now(self) -> Quantized:
        """What the layer was trained to."""
        grid, codes = self._grid(), self._written()
        return replace(
            self.quantized,
            codes=codes,
            scale=grid.scale.reshape(-1).astype(np.float32),
            gain=np.ones(grid.scale.size, np.float32),
            bias=self.bias.detach().numpy().copy(),
            input_scale=float(self._step().detach()),
            weight_error=weight_error(self.layer.weight, grid, codes, self.book),
        )

    def kept(self) -> Kept:
        """All that training changes, to go back to."""
        values = {name: value.clone() for name, value in self.state_dict().items()}
        return values, self.quantized

    def back(self, kept: Kept) -> None:
        """Go back to what was kept."""
        values, self.quantized = kept
        self.load_state_dict(values)

    def _written(self) -> npt.NDArray[np.uint16]:
        return self.codes().numpy().astype(np.uint16)

    def _grid(self) -> Grid:
        """Scale and zero of every column, as they will be stored."""
        shape = (self.layer.groups, self.layer.cols)
        scale = (self._scale * self.widening.detach().exp()).numpy()
        return Grid(scale.astype(np.float64).reshape(shape), self.quantized.zero.reshape(shape))

    def _step(self) -> torch.Tensor:
        """Input units of a DAC code."""
        return self._input_scale * self.coarsening.exp()

    def _rounding(self, inputs: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """What the ADC's rounding and clipping add, µS times DAC code, in the output's shape."""
        layer, book, signed = self.layer, self.book, self.quantized.input_signed
        lsb = self._lsb()
        low, high = adc_limits(self.chip, signed)
        cells = torch.from_numpy(on_lines(self._cells[codes].numpy(), book.layout))
        vectors = unfold(inputs, layer.window).unflatten(1, (layer.groups, layer.rows))
        drive = torch.from_numpy(book.drive).float()
        lines = (
            (vectors[:, :, :, None] * drive[:, None]).flatten(2, 3) if len(drive) > 1 else vectors
        )
        phases = [(1.0, lines)]
        if two_phases(self.chip, signed):
            phases = [(1.0, lines.clamp_min(0)), (-1.0, (-lines).clamp_min(0))]
        height = block_size(self.chip, book)[0]
        error = torch.zeros(())
        for sign, driven in phases:
            for weight, plane in _planes(driven, plane_weights(self.chip, signed)):
                for k in range(0, cells.shape[1], height):
                    current = cells[:, k : k + height].transpose(1, 2) @ plane[:, :, k : k + height]
                    read = (current / lsb).round_().clamp_(low, high).mul_(lsb)
                    error = error + read.sub_(current).mul_(sign * weight)
        combined = self._combined(error).flatten(1, 2)
        return refold(combined, inputs, layer.window)

    def _lsb(self) -> torch.Tensor | float:
        own = self.quantized.adc_column_lsb_us
        return self.quantized.adc_lsb_us if own is None else _tensor(own)[:, :, None]

    def _combined(self, current: torch.Tensor) -> torch.Tensor:
        """(batch, groups, cols, positions) for the bitlines' (batch, groups, bitlines, …)."""
        factors = torch.from_numpy(self.book.factors).float()
        if len(factors) == 1:
            return current
        apart = self.book.layout == "arrays"
        planes = current.unflatten(2, (-1, self.layer.cols) if apart else (self.layer.cols, -1))
        by_output: torch.Tensor = planes.transpose(2, 3) if apart else planes
        return (by_output * factors[:, None]).sum(dim=3)

    def _by_column(self, values: torch.Tensor) -> torch.Tensor:
        window = self.layer.window
        return values if window is None else values.view(1, -1, *(1,) * len(window.kernel))


def _planes(lines: torch.Tensor, weights: tuple[int, ...]) -> list[tuple[int, torch.Tensor]]:
    """What each read drives, and its factor in the shifted sum."""
    if weights == (1,):
        return [(1, lines)]
    size = lines.abs().to(torch.int64)
    return [(weight, lines.sign() * ((size & weight) > 0)) for weight in weights]


def _tensor(values: npt.NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
