"""What layers give while the digital side is trained: what the chip gives, gradients of the twin.

Physics-aware training: L. G. Wright et al. 2022, DOI 10.1038/s41586-021-04223-6.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import torch

from pimc.passes.recover.twin.straight import straight
from pimc.passes.recover.twin.twin import Twin, TwinLayer
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["as_read", "through_chip", "with_noise"]

#: A column whose gain is smaller tells nothing of what the chip gave before it.
_LEAST_GAIN = 1e-3


def through_chip(twin: Twin, chip: Mapping[str, CrossbarLayer]) -> ArrayCall:
    """Every layer gives what the chip reads for its input, under the twin's gain and bias.

    Args:
        twin: gradients go through it.
        chip: by layer name, with the gains and biases of the image it was made for.
    """

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return _read(twin.layers[layer_of(node)], chip[layer_of(node)], x)[0]

    return array


def as_read(twin: Twin, chip: Mapping[str, CrossbarLayer]) -> ArrayCall:
    """Every layer gives exactly what the chip reads, which has the twin's gain and bias.

    The arguments and gradients are those of :func:`through_chip`.
    """

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        expected, given = _read(twin.layers[layer_of(node)], chip[layer_of(node)], x)
        return straight(expected, given)

    return array


def _read(
    layer: TwinLayer, bound: CrossbarLayer, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the chip reads under the twin's gain and bias, with gradients; and what it read."""
    expected = layer.raw(x)
    with torch.no_grad():
        gain, bias = (
            layer.by_column(torch.from_numpy(values.copy()).to(x.device))
            for values in (bound.layer.gain, bound.layer.bias)
        )
        usable = gain.abs() > _LEAST_GAIN
        read = bound(x.detach())
        given = (read - bias) / torch.where(usable, gain, 1.0)
        difference = torch.where(usable, given - expected, 0.0)
    return layer.scaled(expected + difference), read


def with_noise(twin: Twin, generator: torch.Generator) -> ArrayCall:
    """Every layer gives what the twin expects, and the read noise that was measured."""

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        layer = twin.layers[layer_of(node)]
        raw = layer.raw(x)
        noise = layer.by_column(torch.as_tensor(layer.noise))
        return layer.scaled(raw + noise * torch.randn(raw.shape, generator=generator))

    return array
