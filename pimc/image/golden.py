"""The golden network: what an image means, as a plain ONNX model that any runtime can run.

It is made from the image alone. Each array layer becomes the standard operators that do the
same exactly: inputs rounded to DAC codes, times the weights that the levels mean. There is
no device in it: no programming error, no noise, and converters of enough bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from pimc.chip.codebook import by_weight
from pimc.chip.converters import dac_limits
from pimc.image.estimate import held_us
from pimc.image.image import Image, ImageLayer
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import ARRAY_OP, DOMAIN, Window

__all__ = ["array_values", "golden_model", "held_weight", "layer_model"]


def held_weight(image: Image, layer: ImageLayer) -> npt.NDArray[np.float64]:
    """Weights that the levels of an image mean: (groups, rows, cols).

    ``gain · scale · (Σ_p c_p (G_p − R) − (v_zero − R Σ_p c_p))`` with codebook coefficients
    c_p; R is the row correction, which is subtracted from every column of a block. A digital
    residual is added, times the gain.
    """
    held = held_us(image, layer)
    if layer.row_correction is not None:
        spread = layer.row_correction.astype(np.float64)[:, layer.block_of_bitline]
        held = held - by_weight(spread.transpose(0, 2, 1), layer.planes, layer.layout)
    book = image.codebook_of(layer)
    effective = held @ book.coefficients
    zero = book.values_us[layer.zero].reshape(layer.groups, 1, layer.cols)
    factor = layer.scale.astype(np.float64) * layer.gain
    weight: npt.NDArray[np.float64] = factor.reshape(zero.shape) * (effective - zero)
    if layer.residual is not None:
        weight = weight + layer.residual * layer.gain.astype(np.float64).reshape(zero.shape)
    return weight


def golden_model(image: Image, *, keep: Sequence[str] = ()) -> onnx.ModelProto:
    """The quantized network as standard ONNX.

    Args:
        image: an image of any kind.
        keep: names of inner values that become outputs too, after the network's own.
    """
    model = _graph(image)
    graph = model.graph
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    for number, (inside, place, node) in enumerate(_array_nodes(graph)):
        layer = _layer_at(image, node)
        # A layer that several nodes use gets its constants once for each.
        parts = _Parts(f"pimc/{number}", node.output[0], opset)
        _layer(image, layer, node.input[0], parts)
        inside.node.pop(place)
        for part in reversed(parts.nodes):
            inside.node.insert(place, part)
        graph.initializer.extend(parts.constants)
    known = {value.name for value in (*graph.input, *graph.output)}
    for name in dict.fromkeys(keep):
        if name not in known:
            graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    used = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(used)
    return model


def layer_model(image: Image, layer: ImageLayer) -> onnx.ModelProto:
    """One layer as standard ONNX, from ``x``, of any shape that the layer takes, to ``y``."""
    opset = 17
    parts = _Parts("pimc", "y", opset)
    _layer(image, layer, "x", parts)
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y"))
    graph = helper.make_graph(parts.nodes, "layer", [x], [y], parts.constants)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def array_values(image: Image) -> Iterator[tuple[str, str, str]]:
    """Layer name, input and output of every array node, in the order of the graph.

    Those in bodies of control flow have many values a run and are left out.
    """
    graph = _graph(image).graph
    for node in graph.node:
        if _is_array(node):
            yield _layer_at(image, node).name, node.input[0], node.output[0]


def _is_array(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) == (DOMAIN, ARRAY_OP)


def _layer_at(image: Image, node: onnx.NodeProto) -> ImageLayer:
    name = helper.get_node_attr_value(node, "layer").decode()
    return next(layer for layer in image.layers if layer.name == name)


def _array_nodes(
    graph: onnx.GraphProto,
) -> list[tuple[onnx.GraphProto, int, onnx.NodeProto]]:
    """Graph, place and node of all array nodes; of one graph the last first."""
    found = []
    for place, node in reversed(list(enumerate(graph.node))):
        if _is_array(node):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            found.append((graph, place, copy))
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                found += _array_nodes(body)
    return found


def _graph(image: Image) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.ParseFromString(image.graph_bytes.tobytes())
    return model


@dataclass
class _Parts:
    """Nodes and constants that stand for one layer; the last node makes ``output``."""

    prefix: str
    output: str
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, values: npt.ArrayLike, dtype: type = np.float32) -> str:
        name = f"{self.prefix}/constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, last: bool = False, **attributes: Any) -> str:
        output = self.output if last else f"{self.prefix}/value{len(self.nodes)}"
        name = f"{self.prefix}/node{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def largest(self, value: str, axis: int) -> str:
        """Largest value along an axis, which is kept."""
        if self.opset < 18:
            return self.add("ReduceMax", value, axes=[axis], keepdims=1)
        return self.add("ReduceMax", value, self.constant([axis], np.int64), keepdims=1)


def _layer(image: Image, layer: ImageLayer, source: str, parts: _Parts) -> None:
    low, high = dac_limits(image.chip, layer.input_signed)
    weight = held_weight(image, layer)
    if layer.input_scale is not None:
        scale = parts.constant(layer.input_scale)
        codes = _rounded(parts, parts.add("Div", source, scale), low, high)
        _product(layer, weight, parts.add("Mul", codes, scale), parts)
    elif layer.window is None:
        codes, step = _dynamic(parts, source, -1, low, high)
        product = parts.add("MatMul", codes, parts.constant(weight[0]))
        scaled = parts.add("Mul", product, step)
        parts.add("Add", scaled, parts.constant(layer.bias), last=True)
    else:
        _dynamic_convolution(layer, layer.window, weight, source, (low, high), parts)


def _rounded(parts: _Parts, value: str, low: int, high: int) -> str:
    rounded = parts.add("Round", value)
    return parts.add("Clip", rounded, parts.constant(low), parts.constant(high))


def _product(layer: ImageLayer, weight: npt.NDArray[np.float64], x: str, parts: _Parts) -> None:
    bias = parts.constant(layer.bias)
    if layer.window is None:
        product = parts.add("MatMul", x, parts.constant(weight[0]))
        parts.add("Add", product, bias, last=True)
        return
    kernel = kernels_of_matrix(weight, layer.window.kernel)
    attributes = _window(layer.window)
    parts.add("Conv", x, parts.constant(kernel), bias, last=True, group=layer.groups, **attributes)


def _dynamic(parts: _Parts, x: str, axis: int, low: int, high: int) -> tuple[str, str]:
    """Codes, and input units a code: the largest magnitude along ``axis`` is full scale."""
    peak = parts.largest(parts.add("Abs", x), axis)
    step = parts.add("Div", peak, parts.constant(high))
    # The smallest normal float32 keeps vectors of zeros from being divided by zero.
    divisor = parts.add("Max", step, parts.constant(np.finfo(np.float32).tiny))
    return _rounded(parts, parts.add("Div", x, divisor), low, high), step


def _dynamic_convolution(
    layer: ImageLayer,
    window: Window,
    weight: npt.NDArray[np.float64],
    source: str,
    limits: tuple[int, int],
    parts: _Parts,
) -> None:
    """Every position has a scale of its own, so the vectors are cut out first.

    A depthwise convolution with one-hot kernels cuts them out: output channel (c, tap) is
    input channel c moved by the tap.
    """
    taps = int(np.prod(window.kernel))
    channels = layer.groups * layer.rows // taps
    one_hot = np.tile(np.eye(taps), (channels, 1)).reshape(channels * taps, 1, *window.kernel)
    cut = parts.add("Conv", source, parts.constant(one_hot), group=channels, **_window(window))
    shape = parts.constant([0, layer.groups, layer.rows, -1], np.int64)
    codes, step = _dynamic(parts, parts.add("Reshape", cut, shape), 2, *limits)
    matrix = parts.constant(weight.transpose(0, 2, 1))
    scaled = parts.add("Mul", parts.add("MatMul", matrix, codes), step)
    size = parts.add(
        "Slice",
        parts.add("Shape", cut),
        parts.constant([2], np.int64),
        parts.constant([2 + len(window.kernel)], np.int64),
    )
    batch = parts.constant([0, layer.groups * layer.cols], np.int64)
    folded = parts.add("Reshape", scaled, parts.add("Concat", batch, size, axis=0))
    bias = layer.bias.reshape(1, -1, *(1,) * len(window.kernel))
    parts.add("Add", folded, parts.constant(bias), last=True)


def _window(window: Window) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
    }
    if window.auto_pad == "NOTSET":
        return attributes | {"pads": list(window.pads)}
    return attributes | {"auto_pad": window.auto_pad}
