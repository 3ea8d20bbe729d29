"""The float network and the one that is trained on one graph, batch by batch."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import torch

from pimc.passes.recover.learn.blocks import Block
from pimc.passes.recover.learn.layer import LearnedLayer
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Layer, layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall, Executor
from pimc.runtime.teacher import TeacherLayer

__all__ = ["Networks", "Pair", "float_layers"]


def float_layers(layers: Sequence[Layer]) -> ArrayCall:
    """What computes a plan's layers with their float weights."""
    made = {layer.name: _float_layer(layer) for layer in layers}

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return made[layer_of(node)](x)

    return array


def _float_layer(layer: Layer) -> TeacherLayer:
    matrix = torch.from_numpy(layer.weight.numpy().astype(np.float32))
    bias, window = torch.from_numpy(layer.bias.astype(np.float32)), layer.window
    weight = matrix[0] if window is None else kernels_of_matrix(matrix, window.kernel)
    return TeacherLayer(window, layer.groups, weight.contiguous(), bias)


@dataclass(frozen=True, eq=False)
class Pair:
    """A batch in both networks, at one place of them.

    Attributes:
        feed: the network's inputs.
        ours: values of the network that is trained, by name.
        theirs: those of the float network.
    """

    feed: Feed = field(repr=False)
    ours: Mapping[str, torch.Tensor] = field(repr=False)
    theirs: Mapping[str, torch.Tensor] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Networks:
    """Both networks.

    Attributes:
        layers: as the chip computes them, by name, and as they are trained by now.
        teacher: computes the layers of the float network, and those that no data ever reached.
    """

    executor: Executor
    layers: Mapping[str, LearnedLayer]
    teacher: ArrayCall = field(repr=False)

    def array(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What a layer gives as it is trained by now."""
        layer = self.layers.get(layer_of(node))
        return self.teacher(node, x) if layer is None else layer(x)

    def ours(
        self, feed: Feed, given: Mapping[str, torch.Tensor], want: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Values of the network that is trained."""
        return self.executor.run({**feed, **given}, want=want, array=self.array)

    def at(self, pair: Pair, ours: Sequence[str], theirs: Sequence[str]) -> Pair:
        """The batch further on: some values of our network, and some of the float one."""
        with torch.no_grad():
            found = self.ours(pair.feed, pair.ours, ours)
            given = {**pair.feed, **pair.theirs}
            wanted = self.executor.run(given, want=theirs, array=self.teacher)
        return Pair(pair.feed, found, wanted)

    def within(self, pair: Pair, block: Block) -> Pair:
        """The batch at the beginning of a segment as one of its blocks gets it."""
        return self.at(pair, block.inputs, block.outputs)

    def refit(self, pairs: Sequence[Pair], layers: Container[str], want: Sequence[str]) -> None:
        """Fit the ADC ranges of layers to what they get on the way to the values ``want``."""
        met: dict[str, list[torch.Tensor]] = {}

        def keep(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            name = layer_of(node)
            if name in layers and name in self.layers:
                met.setdefault(name, []).append(self.layers[name].vectors(x))
            return self.array(node, x)

        with torch.no_grad():
            for pair in pairs:
                self.executor.run({**pair.feed, **pair.ours}, want=want, array=keep)
        for name, parts in met.items():
            self.layers[name].refit(torch.cat(parts))
