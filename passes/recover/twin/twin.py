"""The twin: the network as one die computes it, with gradients."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.chip.converters import dac_limits, plane_weights, two_phases
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_error
from pimc.passes.recover.twin.straight import driven, rounded
from pimc.plan.kernels import kernels_of_matrix, matrix_of_kernels
from pimc.plan.records import layer_of
from pimc.plan.vectors import convolve, refold, unfold

__all__ = [
    "Twin",
    "TwinLayer",
    "dac_codes",
    "effective_weight",
    "noise_current",
    "offset_current",
    "weight_of_cells",
]

Array64 = npt.NDArray[np.float64]


def effective_weight(image: Image, layer: ImageLayer, estimate: CellEstimate) -> Array64:
    """Weights (groups, rows, cols) that a layer's cells amount to before its gain.

    What the digital side takes off, the pedestal and the rows' common error, is taken off; what
    it adds, a residual, is added.
    """
    held = estimate.mean_us - reference_error(estimate, image, layer)
    return weight_of_cells(image, layer, held)


def weight_of_cells(image: Image, layer: ImageLayer, held_us: Array64) -> Array64:
    """Weights (groups, rows, cols) that cells amount to before the layer's gain.

    Args:
        held_us: (blocks, rows, columns) of the cells, less the reference's conductance.
    """
    book, held = image.codebook_of(layer), layer.by_weight(held_us)
    shape = (layer.groups, 1, layer.cols)
    pedestal = book.pedestal_us(layer.zero).reshape(shape)
    scale = layer.scale.astype(np.float64).reshape(shape)
    weight: Array64 = scale * (held @ book.coefficients - pedestal)
    return weight if layer.residual is None else weight + layer.residual


class TwinLayer(torch.nn.Module):
    """One layer of the twin.

    Attributes:
        layer: the image's.
        limits: smallest and largest DAC code.
        kernel: as the teacher's: (rows, cols) or (groups · cols, channels a group, *kernel).
        offset: (groups · cols,) what the converters' offsets add, output units over the gain; a
            DAC code's worth where ranges are dynamic.
        gain, bias: (groups · cols,) trained.
        noise: (groups · cols,) standard deviation of one read, in the units of ``offset``.
    """

    kernel: torch.Tensor
    offset: torch.Tensor
    noise: torch.Tensor

    def __init__(
        self,
        image: Image,
        layer: ImageLayer,
        *,
        kernel: torch.Tensor,
        offset: torch.Tensor,
        gain: torch.Tensor,
        bias: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.limits = dac_limits(image.chip, layer.input_signed)
        self.gain, self.bias = torch.nn.Parameter(gain), torch.nn.Parameter(bias)
        self._hold(
            kernel=kernel,
            offset=offset,
            noise=torch.zeros_like(offset) if noise is None else noise,
        )

    if TYPE_CHECKING:

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            """Typed; see :meth:`forward`."""
            ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for its input."""
        return self.scaled(self.raw(x))

    def with_kernel(self, kernel: torch.Tensor) -> Self:
        """The same layer, gain and bias shared, that computes with another kernel."""
        other = copy.copy(self)
        other.kernel = kernel
        return other

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """The output before gain and bias."""
        layer, window = self.layer, self.layer.window
        if layer.input_scale is None:
            return self._dynamic(x)
        x = driven(x, layer.input_scale, self.limits)
        if window is None:
            return x @ self.kernel + self.offset
        return convolve(x, self.kernel, self.offset, window, layer.groups)

    def scaled(self, raw: torch.Tensor) -> torch.Tensor:
        """The output for what it is before gain and bias."""
        return (raw * self.by_column(self.gain)).add_(self.by_column(self.bias))

    def by_column(self, values: torch.Tensor) -> torch.Tensor:
        """(groups · cols,) values in a shape that goes with the layer's outputs."""
        window = self.layer.window
        return values if window is None else values.view(1, -1, *(1,) * len(window.kernel))

    def extra_repr(self) -> str:
        """See torch's."""
        layer = self.layer
        return f"{layer.name}, {layer.groups} × {layer.rows} × {layer.cols}"

    def _hold(self, **tensors: torch.Tensor) -> None:
        """Tensors that move with the layer and are no part of its state."""
        for name, value in tensors.items():
            self.register_buffer(name, value, persistent=False)

    def __getstate__(self) -> dict[str, Any]:
        """Copies are of values: what they were worked out from is worked out again."""
        kept = {n: None if v is None else v.detach() for n, v in self._buffers.items()}
        return {**self.__dict__, "_buffers": kept}

    def _dynamic(self, x: torch.Tensor) -> torch.Tensor:
        """Every vector of a group is brought to the DAC's full scale on its own."""
        layer = self.layer
        vectors = unfold(x, layer.window).unflatten(1, (layer.groups, layer.rows))
        step = vectors.detach().abs().amax(dim=2, keepdim=True) / self.limits[1]
        step = step.clamp_min(torch.finfo(x.dtype).tiny)
        codes = dac_codes(vectors, step, self.limits) * step
        matrix = self.kernel[None] if layer.window is None else self._matrix()
        y = torch.matmul(matrix.transpose(1, 2), codes).flatten(1, 2)
        per_output = step.squeeze(2).repeat_interleave(layer.cols, dim=1)
        y = y + self.offset.view(1, -1, 1) * per_output
        return refold(y, x, layer.window)

    def _matrix(self) -> torch.Tensor:
        layer = self.layer
        return matrix_of_kernels(self.kernel, layer.groups)


@dataclass(frozen=True, eq=False)
class Twin:
    """All layers of the twin by name; call it as the executor's array function."""

    layers: Mapping[str, TwinLayer]

    @staticmethod
    def of(image: Image, estimates: Mapping[int, CellEstimate], device: str = "cpu") -> Twin:
        """The twin of the die that ``estimates`` describe, with the digital side of ``image``."""
        return Twin(
            {
                layer.name: _twin_layer(image, layer, estimates[layer.index], device)
                for layer in image.layers
            }
        )

    def __call__(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What an array layer computes."""
        return self.layers[layer_of(node)](x)

    def on(self, image: Image) -> Image:
        """The image with the trained gains and biases."""
        return image.with_layers(
            replace(
                image.layers[twin.layer.index],
                gain=twin.gain.detach().cpu().numpy().copy(),
                bias=twin.bias.detach().cpu().numpy().copy(),
            )
            for twin in self.layers.values()
        )


def offset_current(image: Image, layer: ImageLayer, estimate: CellEstimate) -> Array64:
    """(groups · cols,) what the converters' offsets add to each output, µS times DAC code.

    Two phases are subtracted from each other and their offsets with them.
    """
    if two_phases(image.chip, layer.input_signed):
        return np.zeros(layer.groups * layer.cols)
    added = estimate.offset.reshape(layer.groups, layer.row_blocks, layer.bitlines).sum(axis=1)
    book = image.codebook_of(layer)
    each: Array64 = book.by_output(added) @ book.factors
    return each.reshape(-1) * sum(plane_weights(image.chip, layer.input_signed))


def noise_current(image: Image, layer: ImageLayer, estimate: CellEstimate) -> Array64:
    """(groups · cols,) standard deviation of each output in one read, µS times DAC code."""
    added = estimate.noise.reshape(layer.groups, layer.row_blocks, layer.bitlines).sum(axis=1)
    book = image.codebook_of(layer)
    each: Array64 = np.sqrt(book.by_output(added) @ book.factors**2)
    return each.reshape(-1)


def _twin_layer(image: Image, layer: ImageLayer, estimate: CellEstimate, device: str) -> TwinLayer:
    weight = torch.from_numpy(effective_weight(image, layer, estimate)).float()
    window = layer.window
    kernel = weight[0] if window is None else kernels_of_matrix(weight, window.kernel)
    unit = layer.scale * (layer.input_scale or 1.0)
    offset = unit * offset_current(image, layer, estimate)
    noise = unit * noise_current(image, layer, estimate)
    return TwinLayer(
        image,
        layer,
        kernel=kernel.contiguous().to(device),
        offset=torch.from_numpy(offset).float().to(device),
        gain=torch.from_numpy(layer.gain.copy()).to(device),
        bias=torch.from_numpy(layer.bias.copy()).to(device),
        noise=torch.from_numpy(noise).float().to(device),
    )


def dac_codes(x: torch.Tensor, step: float | torch.Tensor, limits: tuple[int, int]) -> torch.Tensor:
    """The DAC: rounded and clipped; gradients pass through the rounding, not the clipping."""
    return rounded(x / step, limits)
