"""Layers that are written anew whenever asked: what training under write errors runs on.

Weights are rounded to their codes and every cell gets a write error drawn from the chip's own
statistics; gradients pass straight through the rounding (Y. Bengio et al., arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import dac_limits
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_variance, stuck
from pimc.passes.recover.twin.twin import TwinLayer, effective_weight, offset_current
from pimc.plan.kernels import kernels_of_matrix

__all__ = ["Held", "NoisyLayer", "parameters_of", "written"]


@dataclass(frozen=True, eq=False)
class Held:
    """What the cells of a layer hold already; shapes (groups, rows, cols).

    Attributes:
        us: effective µS from the column's zero.
        fixed: weights that no write can move.
        stay_us: a weight that is asked for no more than this away from what it holds is not
            written.
    """

    us: torch.Tensor = field(repr=False)
    fixed: torch.Tensor = field(repr=False)
    stay_us: float


@dataclass(eq=False)
class NoisyLayer:
    """A layer that is written anew whenever :meth:`draw` is called.

    Attributes:
        weight: (groups, rows, cols) trained, in effective µS from the column's zero.
        reference_us: standard deviation of what a row's reference cell adds to its weights.
        block: (cols,) which reference column each column shares.
        held: what is there before; None where every weight is written.
        residual: (groups, rows, cols) what the digital side adds, gain included; or 0.
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
    held: Held | None = None
    residual: torch.Tensor | float = 0.0

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

    @staticmethod
    def on(image: Image, layer: ImageLayer, known: CellEstimate, stay: float) -> NoisyLayer:
        """The layer as a die holds it, with the reference columns' errors taken off.

        Args:
            stay: a weight asked for this little, in standard deviations of a write, away from
                what it holds is not written.
        """
        blank = NoisyLayer.of(image, layer)
        scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
        weight, residual = effective_weight(image, layer, known), layer.residual
        if residual is not None:
            weight = weight - residual
            residual = residual * layer.gain.reshape(scale.shape)
        held = torch.from_numpy(weight / scale).float()
        fixed = layer.by_weight(stuck(image, layer, known)).any(axis=-1)
        offset = layer.scale * layer.gain * offset_current(image, layer, known)
        twin = replace(
            blank.twin, offset=torch.from_numpy(offset * (layer.input_scale or 1.0)).float()
        )
        return replace(
            blank,
            twin=twin,
            weight=torch.nn.Parameter(held.clone()),
            reference_us=0.0,
            held=Held(held, torch.from_numpy(fixed), stay * float(blank.sigma_us.mean())),
            residual=0.0 if residual is None else torch.from_numpy(residual),
        )

    def stays(self) -> torch.Tensor:
        """(groups, rows, cols) weights that are not written."""
        if self.held is None:
            return torch.zeros(self.weight.shape, dtype=torch.bool, device=self.weight.device)
        return self.held.fixed | ((self.weight - self.held.us).abs() <= self.held.stay_us)

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
        lands = self.values_us[codes] - self.zero_us + error * noise
        if self.held is not None:
            lands = torch.where(self.stays(), self.held.us, lands)
        low, high = self.values_us[0] - self.zero_us, self.values_us[-1] - self.zero_us
        inside = torch.maximum(torch.minimum(self.weight, high), low)
        effective = (inside + (lands - inside).detach()) * self.scale + self.residual
        layer = self.twin.layer
        if layer.window is None:
            self.twin.kernel = effective[0]
        else:
            self.twin.kernel = kernels_of_matrix(effective, layer.window.kernel)


def parameters_of(layers: Iterable[NoisyLayer], learning_rate: float) -> list[dict[str, Any]]:
    """Weights and biases with their learning rates, as torch's optimizers take them.

    Args:
        learning_rate: in units of the standard deviation of a layer's weights.
    """
    groups: list[dict[str, Any]] = []
    for layer in layers:
        spread = float(layer.weight.detach().std().clamp_min(1e-6))
        groups.append({"params": [layer.weight], "lr": learning_rate * spread})
        groups.append({"params": [layer.twin.bias], "lr": learning_rate})
    return groups


def written(image: Image, layers: Iterable[NoisyLayer]) -> Image:
    """The image with the levels and biases that these layers were trained to."""
    cells, levels, biased = [], [], []
    for noisy in layers:
        layer = noisy.twin.layer
        cells.append(layer.by_weight(image.cells(layer)).reshape(-1))
        levels.append(image.codebook.levels[noisy.codes().cpu().numpy()].reshape(-1))
        bias = noisy.twin.bias.detach().cpu().numpy().copy()
        biased.append(replace(image.layers[layer.index], bias=bias))
    changed = image.updated(cells=np.concatenate(cells), levels=np.concatenate(levels))
    return changed.with_layers(biased)


def _reference_sigma_us(image: Image) -> float:
    """Standard deviation of what a row's reference cells add to each of its weights, µS."""
    coefficients = image.codebook.coefficients
    # Planes side by side on one wordline share the reference cell of their array.
    shared = image.codebook.layout == "columns"
    factor = abs(coefficients.sum()) if shared else sqrt((coefficients**2).sum())
    return float(factor) * sqrt(reference_variance(image))
