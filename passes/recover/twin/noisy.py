"""Layers that are written anew whenever asked: what training of weights runs on.

Weights are rounded to their codes and land as a chip's statistics say, or as a die says that holds
them; gradients pass straight through the rounding (Y. Bengio et al., arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.image.estimate import held_us
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_variance, stuck
from pimc.passes.recover.twin.twin import TwinLayer, effective_weight, offset_current
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.vectors import convolve

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


class NoisyLayer(TwinLayer):
    """A layer that is written anew whenever :meth:`draw` or :meth:`land` is called.

    Attributes:
        weight: (groups, rows, cols) trained, in ``unit`` from the column's zero.
        unit: (groups, 1, cols) a µS in units of ``weight``; 1 where these are µS.
        bounded: whether no gradient reaches a weight that is asked for more than cells can hold.
        own_gain: whether the image's gain is this layer's; else it is part of ``scale``.
        reference_us: standard deviation of what a row's reference cell adds to its weights.
        block: (cols,) which reference column each column shares.
        held: what is there before; None where every weight is written.
        residual: (groups, rows, cols) what the digital side adds, in the units of the kernel; or 0.
    """

    unit: torch.Tensor
    block: torch.Tensor
    zero_us: torch.Tensor
    scale: torch.Tensor
    values_us: torch.Tensor
    sigma_us: torch.Tensor
    middles: torch.Tensor
    residual: torch.Tensor

    def __init__(
        self,
        image: Image,
        layer: ImageLayer,
        weight: npt.NDArray[np.floating],
        *,
        own_gain: bool = False,
        in_us: bool = True,
        offset: npt.NDArray[np.floating] | None = None,
        held: Held | None = None,
        residual: npt.NDArray[np.float32] | None = None,
    ) -> None:
        book, count = image.codebook_of(layer), layer.groups * layer.cols
        shape = (layer.groups, 1, layer.cols)
        gain = layer.gain if own_gain else np.ones(count, np.float32)
        super().__init__(
            image,
            layer,
            kernel=torch.zeros(()),
            offset=torch.zeros(count) if offset is None else _tensor(offset),
            gain=_tensor(gain.copy()),
            bias=_tensor(layer.bias.copy()),
        )
        self.gain.requires_grad_(own_gain)
        self.weight = torch.nn.Parameter(_tensor(weight))
        self.own_gain, self.bounded, self.held = own_gain, in_us, held
        self.reference_us = _reference_sigma_us(image, layer) if held is None else 0.0
        merged = layer.scale if own_gain else layer.scale * layer.gain
        scale, values = merged.astype(np.float64).reshape(shape), book.values_us
        block = book.by_output(layer.block_of_bitline)[:, 0].astype(np.int64)
        self._hold(
            unit=torch.ones(()) if in_us else _tensor(scale),
            block=torch.from_numpy(block),
            zero_us=_tensor(values[layer.zero].reshape(shape)),
            scale=_tensor(scale),
            values_us=_tensor(values),
            sigma_us=_tensor(book.sigma_us),
            middles=_tensor((values[1:] + values[:-1]) / 2),
            residual=torch.zeros(()) if residual is None else torch.from_numpy(residual),
        )

    @staticmethod
    def of(image: Image, layer: ImageLayer, device: str = "cpu") -> NoisyLayer:
        """The layer before training: the float network's weights, in µS.

        Args:
            device: torch device to train on.
        """
        scale = (layer.scale * layer.gain).astype(np.float64)
        wanted = np.asarray(layer.teacher_weight, np.float64)
        return NoisyLayer(image, layer, wanted / scale.reshape(layer.groups, 1, layer.cols)).to(
            device
        )

    @staticmethod
    def at(image: Image, layer: ImageLayer) -> NoisyLayer:
        """The layer as the image has it, in the units of its outputs; its gain is its own.

        Weights beyond what cells can hold count as the last level, and may come back from there.
        """
        residual = None if layer.residual is None else layer.residual.copy()
        shape, book = (layer.groups, 1, layer.cols), image.codebook_of(layer)
        from_zero = held_us(image, layer) @ book.coefficients
        from_zero -= book.values_us[layer.zero].reshape(shape)
        weight = layer.scale.astype(np.float64).reshape(shape) * from_zero
        return NoisyLayer(image, layer, weight, own_gain=True, in_us=False, residual=residual)

    @staticmethod
    def on(image: Image, layer: ImageLayer, known: CellEstimate, stay: float) -> NoisyLayer:
        """The layer as a die holds it, with the reference columns' errors taken off, in µS.

        Args:
            stay: a weight asked for this little, in standard deviations of a write, away from
                what it holds is not written.
        """
        scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
        weight, residual = effective_weight(image, layer, known), layer.residual
        if residual is not None:
            weight = weight - residual
            residual = residual * layer.gain.reshape(scale.shape)
        fixed = layer.by_weight(stuck(image, layer, known)).any(axis=-1)
        offset = layer.scale * layer.gain * offset_current(image, layer, known)
        sigma_us = float(_tensor(image.codebook_of(layer).sigma_us).mean())
        us = weight / scale
        return NoisyLayer(
            image,
            layer,
            us,
            offset=offset * (layer.input_scale or 1.0),
            held=Held(_tensor(us), torch.from_numpy(fixed), stay * sigma_us),
            residual=residual,
        )

    @property
    def asked_us(self) -> torch.Tensor:
        """(groups, rows, cols) what the weights ask for, in µS from the column's zero."""
        return self.weight / self.unit

    def layer_now(self) -> ImageLayer:
        """The image's layer with the gain, where it is this layer's own, and bias of now."""
        gain = _array(self.gain) if self.own_gain else self.layer.gain
        return replace(self.layer, gain=gain, bias=_array(self.bias))

    def stays(self) -> torch.Tensor:
        """(groups, rows, cols) weights that are not written."""
        if self.held is None:
            return torch.zeros(self.weight.shape, dtype=torch.bool, device=self.weight.device)
        return self.held.fixed | ((self.asked_us - self.held.us).abs() <= self.held.stay_us)

    def codes(self) -> torch.Tensor:
        """(groups, rows, cols) the nearest code of every weight."""
        return torch.bucketize((self.asked_us + self.zero_us).detach(), self.middles)

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
        asked = self.asked_us
        inside = torch.maximum(torch.minimum(asked, high), low) if self.bounded else asked
        self._compute((inside + (lands - inside).detach()) * self.scale + self.residual)

    def land(self, weight: torch.Tensor) -> None:
        """Write the layer: its next outputs are those of a die that holds these weights.

        Args:
            weight: (groups, rows, cols) before the gain, the residual added.
        """
        own = self.weight
        self._compute(own + (weight - own).detach())

    def exact(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the weights as they are: no levels, no errors, no converters."""
        layer = self.layer
        self._compute(self.weight * (self.scale / self.unit) + self.residual)
        if layer.window is None:
            return self.scaled(x @ self.kernel)
        none = torch.zeros_like(self.bias)
        return self.scaled(convolve(x, self.kernel, none, layer.window, layer.groups))

    def _compute(self, matrix: torch.Tensor) -> None:
        """Compute with weights (groups, rows, cols) from now on."""
        window = self.layer.window
        self.kernel = matrix[0] if window is None else kernels_of_matrix(matrix, window.kernel)


def parameters_of(layers: Iterable[NoisyLayer], learning_rate: float) -> list[dict[str, Any]]:
    """Weights and biases with their learning rates, as torch's optimizers take them.

    Args:
        learning_rate: in units of the standard deviation of a layer's weights.
    """
    groups: list[dict[str, Any]] = []
    for layer in layers:
        spread = float(layer.weight.detach().std().clamp_min(1e-6))
        groups.append({"params": [layer.weight], "lr": learning_rate * spread})
        groups.append({"params": [layer.bias], "lr": learning_rate})
    return groups


def written(image: Image, layers: Iterable[NoisyLayer]) -> Image:
    """The image with the levels, gains and biases that these layers were trained to."""
    cells, levels, digital = [], [], []
    for noisy in layers:
        layer = noisy.layer
        cells.append(layer.by_weight(image.cells(layer)).reshape(-1))
        levels.append(image.codebook_of(layer).levels[noisy.codes().cpu().numpy()].reshape(-1))
        now = noisy.layer_now()
        digital.append(replace(image.layers[layer.index], gain=now.gain, bias=now.bias))
    changed = image.updated(cells=np.concatenate(cells), levels=np.concatenate(levels))
    return changed.with_layers(digital)


def _tensor(values: npt.NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()


def _array(values: torch.Tensor) -> npt.NDArray[np.float32]:
    return values.detach().float().cpu().numpy().copy()


def _reference_sigma_us(image: Image, layer: ImageLayer) -> float:
    """Standard deviation of what a row's reference cells add to each of its weights, µS."""
    coefficients = image.codebook_of(layer).coefficients
    # Planes side by side on one wordline share the reference cell of their array.
    shared = layer.layout == "columns"
    factor = abs(coefficients.sum()) if shared else sqrt((coefficients**2).sum())
    return float(factor) * sqrt(reference_variance(image))
