"""Scales of input channels in the graph: taken over by the layer before, or a product of their own.

A positive factor of a channel passes through ReLU, through pooling, and through a Clip whose
limits are scaled with it, so the layer before can have it in its weights and bias, at no cost
(cross-layer equalization, M. Nagel et al. 2019, 10.1109/ICCV.2019.00141). Where a value has
other readers, a residual sum for one, the layer's inputs are multiplied digitally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with as replace_uses

from pimc.errors import PlanError
from pimc.passes.graph.constants import add_constant, constant_array, fresh
from pimc.plan.records import Layer, is_array_node, layer_of

__all__ = ["Chain", "chain_to", "scale_inputs"]

Array64 = npt.NDArray[np.float64]

#: Operators that a positive factor of each channel passes through, whatever the value's shape.
_ELEMENTWISE = frozenset({"Clip", "Identity", "LeakyRelu", "Relu"})
#: Those that keep the channels of pictures apart.
_POOLING = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})


@dataclass(frozen=True)
class Chain:
    """The way from one layer's outputs to another's inputs.

    Attributes:
        source: name of the layer that takes the scales over.
        between: the operators on the way, the first one first.
    """

    source: str
    between: tuple[ir.Node, ...] = field(repr=False)


def chain_to(node: ir.Node, layers: Mapping[str, Layer]) -> Chain | None:
    """The chain that ends in an array node; None if nothing can take its input's scales over.

    Args:
        layers: those that scales may be put into, by name.
    """
    ends = layers[layer_of(node)]
    value, between = node.inputs[0], list[ir.Node]()
    while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        producer = value.producer()
        if producer is None or producer.graph is not node.graph:
            return None
        if is_array_node(producer):
            source = layers.get(layer_of(producer))
            if source is None or (source.window is None) != (ends.window is None):
                return None
            return Chain(source.name, tuple(reversed(between)))
        if not _lets_pass(producer, ends):
            return None
        between.append(producer)
        value = producer.inputs[0]
    return None


def _lets_pass(node: ir.Node, ends: Layer) -> bool:
    """Whether a node gives s · y for inputs s · x, with limits scaled where it has some."""
    if node.domain or len([v for v in node.outputs if v.uses()]) != 1:
        return False
    if node.op_type == "Clip":
        return (
            node.inputs[0] is not None
            and node.inputs[0].dtype == ir.DataType.FLOAT
            and all(limit is None or constant_array(limit) is not None for limit in node.inputs[1:])
        )
    if node.op_type == "Pad":
        return ends.window is not None and _pads_zeros(node, len(ends.window.kernel))
    pools = ends.window is not None and node.op_type in _POOLING
    return pools or node.op_type in _ELEMENTWISE


def _pads_zeros(node: ir.Node, dims: int) -> bool:
    """Whether a Pad adds zeros to the axes of pictures alone."""
    if node.attributes.get_string("mode", "constant") != "constant" or len(node.inputs) > 3:
        return False
    pads = constant_array(node.inputs[1])
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    value = constant_array(fill)
    if pads is None or (fill is not None and (value is None or value.any())):
        return False
    sides = pads.reshape(2, -1)
    return sides.shape[1] == dims + 2 and not sides[:, :2].any()


def scale_inputs(node: ir.Node, layer: Layer, chain: Chain | None, factor: Array64) -> None:
    """Let an array node's inputs be ``factor`` (channels,) times what they were.

    With a chain the layer before gives them so already, and limits on the way follow; else
    the inputs are multiplied before the node.

    Args:
        layer: that of the node.
    """
    shape = factor.shape if layer.window is None else (-1, *(1,) * len(layer.window.kernel))
    values = factor.reshape(shape)
    if chain is None:
        node.replace_input_with(0, _put(node, node.inputs[0], [("Mul", values)], "equalized"))
        return
    for between in chain.between:
        if between.op_type == "Clip":
            _scale_limits(between, values)


def _scale_limits(node: ir.Node, factor: Array64) -> None:
    """Put Max and Min, with limits for each channel, in the place of a Clip."""
    limits = zip(("Max", "Min"), map(constant_array, node.inputs[1:]), strict=False)
    steps = [
        (op, factor * float(bound.reshape(-1)[0])) for op, bound in limits if bound is not None
    ]
    if steps and node.graph is not None:
        replace_uses(node.outputs[0], _put(node, node.inputs[0], steps, "limited"))
        node.graph.remove(node, safe=True)


def _put(
    before: ir.Node, value: ir.Value | None, steps: Sequence[tuple[str, Array64]], role: str
) -> ir.Value:
    """Put operators with constants behind ``value``, in front of a node; gives what comes out."""
    graph = before.graph
    if value is None or not isinstance(graph, ir.Graph):
        raise PlanError("has no input, or is in no graph", where=before.name or "")
    taken = {v.name or "" for n in graph for v in n.outputs} | set(graph.initializers)
    base = value.name
    for op, constant in steps:
        name = fresh(f"{base}/{role}", taken)
        factor = fresh(f"{name}/{op.lower()}", taken)
        with np.errstate(over="ignore"):  # a limit beyond float32 is none
            values = constant.astype(np.float32)
        other = add_constant(graph, factor, values)
        added = ir.Node("", op, [value, other], name=name)
        result = added.outputs[0]
        result.name, result.type, result.shape = name, value.type, value.shape
        graph.insert_before(before, added)
        value = result
    return value
