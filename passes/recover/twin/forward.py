"""What layers give while the digital side is trained: what the chip gives, gradients of the twin.

Physics-aware training: L. G. Wright et al. 2022, DOI 10.1038/s41586-021-04223-6.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import torch

from pimc.passes.recover.twin.twin import Twin
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["through_chip", "with_noise"]

#: A column whose gain is smaller tells nothing of what the chip gave before it.
_LEAST_GAIN = 1e-3


def through_chip(twin: Twin, chip: Mapping[str, CrossbarLayer]) -> ArrayCall:
    """Every layer gives what the chip reads for its input, under the twin's gain and bias.

    Args:
        twin: gradients go through it.
        chip: by layer name, with the gains and biases of the image it was made for.
    """

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        layer, bound = twin.layers[layer_of(node)], chip[layer_of(node)]
        expected = layer.raw(x)
        with torch.no_grad():
            gain = layer.by_column(torch.from_numpy(bound.layer.gain.copy()))
            bias = layer.by_column(torch.from_numpy(bound.layer.bias.copy()))
            usable = gain.abs() > _LEAST_GAIN
            given = (bound(x.detach()) - bias) / torch.where(usable, gain, 1.0)
            difference = torch.where(usable, given - expected, 0.0)
        return layer.scaled(expected + difference)

    return array


def with_noise(twin: Twin, generator: torch.Generator) -> ArrayCall:
    """Every layer gives what the twin expects, and the read noise that was measured."""

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        layer = twin.layers[layer_of(node)]
        raw = layer.raw(x)
        noise = layer.by_column(torch.as_tensor(layer.noise))
        return layer.scaled(raw + noise * torch.randn(raw.shape, generator=generator))

    return array
