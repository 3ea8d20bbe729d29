"""An ONNX network as a torch module whose layers a peer's converter can replace.

Written for the residual networks of this benchmark, whose batch normalisation is folded: `Conv`
becomes `torch.nn.Conv2d`, `Gemm` becomes `torch.nn.Linear`, all else is a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

Attributes = dict[str, Any]
Function = Callable[..., Tensor]


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(
        starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True
    ):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _pad(x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
    begins, ends = pads.reshape(2, -1).tolist()
    # torch counts from the last axis.
    widths = [w for pair in zip(reversed(begins), reversed(ends), strict=True) for w in pair]
    return F.pad(x, widths, value=0.0 if value is None else float(value))


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    kept = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())]
    return x.reshape(kept)


def _window(attributes: Attributes) -> dict[str, Any]:
    return {
        "kernel_size": tuple(attributes["kernel_shape"]),
        "stride": tuple(attributes["strides"]),
        "padding": tuple(attributes.get("pads", (0, 0))[:2]),
    }


#: Operators without weights: their attributes give a function of the inputs.
FUNCTIONS: dict[str, Callable[[Attributes], Function]] = {
    "Add": lambda a: torch.add,
    "AveragePool": lambda a: lambda x: F.avg_pool2d(x, **_window(a)),
    "Concat": lambda a: lambda *xs: torch.cat(xs, dim=a["axis"]),
    "Flatten": lambda a: lambda x: x.flatten(1),
    "Gather": lambda a: lambda x, at: x[at],
    "GlobalAveragePool": lambda a: lambda x: x.mean(dim=(2, 3), keepdim=True),
    "MaxPool": lambda a: lambda x: F.max_pool2d(x, **_window(a)),
    "Pad": lambda a: _pad,
    "Relu": lambda a: torch.relu,
    "Reshape": lambda a: _reshape,
    "Shape": lambda a: lambda x: torch.tensor(x.shape),
    "Slice": lambda a: _slice,
    "Unsqueeze": lambda a: lambda x, axes: x.unsqueeze(int(axes)),
}


def _conv(attributes: Attributes, weight: Tensor, bias: Tensor | None) -> nn.Module:
    outputs, inputs = weight.shape[:2]
    layer = nn.Conv2d(
        inputs * attributes.get("group", 1),
        outputs,
        groups=attributes.get("group", 1),
        bias=bias is not None,
        **_window({**attributes, "kernel_shape": weight.shape[2:]}),
    )
    return _with_weights(layer, weight, bias)


def _linear(attributes: Attributes, weight: Tensor, bias: Tensor | None) -> nn.Module:
    weight = weight if attributes.get("transB") else weight.T
    return _with_weights(
        nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias
    )


def _with_weights(
    layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None
) -> nn.Conv2d | nn.Linear:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer


#: Operators with weights.
LAYERS: dict[str, Callable[[Attributes, Tensor, Tensor | None], nn.Module]] = {
    "Conv": _conv,
    "Gemm": _linear,
}


class GraphNet(nn.Module):
    """A network of one input and one output.

    Args:
        path: ONNX file; operators beyond ``FUNCTIONS`` and ``LAYERS`` raise KeyError.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        constants = {
            i.name: torch.from_numpy(np.array(numpy_helper.to_array(i))) for i in graph.initializer
        }
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.layers = nn.ModuleList()
        self.steps: list[tuple[int | Function, tuple[str, ...], str]] = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = torch.from_numpy(
                    np.array(numpy_helper.to_array(attributes["value"]))
                )
            elif node.op_type in LAYERS:
                weight, bias = (*(constants[name] for name in node.input[1:]), None)[:2]
                assert weight is not None
                self.steps.append((len(self.layers), tuple(node.input[:1]), node.output[0]))
                self.layers.append(LAYERS[node.op_type](attributes, weight, bias))
            else:
                function = FUNCTIONS[node.op_type](attributes)
                self.steps.append((function, tuple(node.input), node.output[0]))
        used = {name for _, inputs, _ in self.steps for name in inputs}
        self.constants = {name: value for name, value in constants.items() if name in used}

    def forward(self, x: Tensor) -> Tensor:
        """The output for a batch of inputs."""
        values: dict[str, Tensor] = {**self.constants, self.input: x}
        for step, names, output in self.steps:
            inputs = [values[name] for name in names]
            values[output] = (self.layers[step] if isinstance(step, int) else step)(*inputs)
        return values[self.output]


def written(net: GraphNet, levels: int, error: float, seed: int) -> GraphNet:
    """The network with every weight rounded and written once, imprecisely; changed in place.

    The peers hold a weight in a pair of cells of ``levels`` levels each: 2·levels − 1 steps from
    −w_max to w_max of its column, and an error of ``error`` · w_max.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in layer_weights(net):
            largest = weight.abs().flatten(1).amax(dim=1).view(-1, *(1,) * (weight.ndim - 1))
            step = largest / (levels - 1)
            noise = torch.randn(weight.shape, generator=generator) * error * largest
            weight.copy_((weight / step).round() * step + noise)
    return net


def layer_weights(net: GraphNet) -> Sequence[Tensor]:
    """The weights of the layers, outputs first."""
    return [p for name, p in net.layers.named_parameters() if name.endswith("weight")]
