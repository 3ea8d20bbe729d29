"""Layers that are written anew whenever asked: what training under write errors runs on.

Weights are rounded to their codes and every cell gets a write error drawn from the chip's own
statistics; gradients pass straight through the rounding (Y. Bengio et al., arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import numpy.typing as npt
import torch

from pimc.converters import dac_limits
from pimc.image import Image, ImageLayer
from pimc.passes.recover.identify import reference_variance
from pimc.passes.recover.twin import TwinLayer

__all__ = ["NoisyLayer", "optimizer_of", "written"]


@dataclass(eq=False)
class NoisyLayer:
    """A layer that is written anew whenever :meth:`draw` is called.

    Attributes:
        weight: (groups, rows, cols) trained, in effective µS from the column's zero.
        reference_us: standard deviation of what a row's reference cell adds to its weights.
        block: (cols,) which reference column each column shares.
    """

    twin: TwinLayer
    weight: torch.nn.Parameter
    reference_us: float
    block: torch.Tensor
    zero_us: torch.Tensor
    scale: torch.Tensor
    values_us: torch.Tensor
    sigma_us: torch.Tensor
    middles: torch.Tensor = field(repr=False)

    @staticmethod
    def of(image: Image, layer: ImageLayer, device: str = "cpu") -> NoisyLayer:
        """The layer before training: the float network's weights.

        Args:
            device: torch device to train on.
        """
        book, shape = image.codebook, (layer.groups, 1, layer.cols)
        scale = (layer.scale * layer.gain).astype(np.float64).reshape(shape)
        wanted = np.asarray(layer.teacher_weight, np.float64) / scale

        def tensor(values: npt.NDArray[np.floating]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).float().to(device)

        values = book.values_us
        block = book.by_output(layer.block_of_bitline)[:, 0].astype(np.int64)
        twin = TwinLayer(
            layer,
            dac_limits(image.chip, layer.input_signed),
            torch.zeros(()),
            torch.zeros(layer.groups * layer.cols, device=device),
            torch.nn.Parameter(tensor(np.ones(layer.groups * layer.cols)), requires_grad=False),
            torch.nn.Parameter(tensor(layer.bias.copy())),
        )
        return NoisyLayer(
            twin,
            torch.nn.Parameter(tensor(wanted)),
            _reference_sigma_us(image),
            torch.from_numpy(block).to(device),
            tensor(values[layer.zero].reshape(shape)),
            tensor(scale),
            tensor(values),
            tensor(book.sigma_us),
            tensor((values[1:] + values[:-1]) / 2),
        )

    def codes(self) -> torch.Tensor:
        """(groups, rows, cols) the nearest code of every weight."""
        return torch.bucketize((self.weight + self.zero_us).detach(), self.middles)

    def draw(self, generator: torch.Generator, noise: float = 1.0) -> None:
        """Write the layer: its next outputs are those of one die.

        Args:
            noise: the errors, as a part of the chip's own.
        """
        codes = self.codes()

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(codes.device)

        error = drawn(*codes.shape) * self.sigma_us[codes]
        if self.reference_us:
            common = drawn(*codes.shape[:2], int(self.block.max()) + 1)
            error = error - self.reference_us * common[:, :, self.block]
        error = error * noise
        held = self.values_us[codes] - self.zero_us
        low, high = self.values_us[0] - self.zero_us, self.values_us[-1] - self.zero_us
        inside = torch.maximum(torch.minimum(self.weight, high), low)
        effective = (inside + (held - inside).detach() + error) * self.scale
        layer = self.twin.layer
        if layer.window is None:
            self.twin.kernel = effective[0]
        else:
            kernel = effective.transpose(1, 2)
            self.twin.kernel = kernel.reshape(layer.groups * layer.cols, -1, *layer.window.kernel)


def optimizer_of(layers: Iterable[NoisyLayer], learning_rate: float) -> torch.optim.Adam:
    """Adam over weights and biases.

    Args:
        learning_rate: in units of the standard deviation of a layer's weights.
    """
    groups = []
    for layer in layers:
        spread = float(layer.weight.detach().std().clamp_min(1e-6))
        groups.append({"params": [layer.weight], "lr": learning_rate * spread})
        groups.append({"params": [layer.twin.bias], "lr": learning_rate})
    return torch.optim.Adam(groups)


def written(image: Image, layers: Iterable[NoisyLayer]) -> Image:
    """The image with the levels and biases that these layers were trained to."""
    levels, columns = image.levels.copy(), {}
    for noisy in layers:
        layer = noisy.twin.layer
        address = layer.by_weight(image.cells(layer))
        levels.reshape(-1)[address] = image.codebook.levels[noisy.codes().cpu().numpy()]
        columns[layer.index] = {"bias": noisy.twin.bias.detach().cpu().numpy().copy()}
    return image.updated(levels=levels, columns=columns)


def _reference_sigma_us(image: Image) -> float:
    """Standard deviation of what a row's reference cells add to each of its weights, µS."""
    coefficients = image.codebook.coefficients
    # Planes side by side on one wordline share the reference cell of their array.
    shared = image.codebook.layout == "columns"
    factor = abs(coefficients.sum()) if shared else sqrt((coefficients**2).sum())
    return float(factor) * sqrt(reference_variance(image))
