"""Gains and offsets of norms, put into the layers behind them where nothing else reads them.

A layer that reads g·x + b gives W(g·x + b) + c = (Wg)x + (Wb + c): exact but for float rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pimc.files.weights.weight import Weight
from pimc.passes.graph.constants import (
    Array,
    add_constant,
    constant_array,
    fresh,
    names_in_use,
)
from pimc.passes.rotate.carried import affine_of, over_last, width
from pimc.plan.records import Layer, Plan, is_array_node, layer_of, repeated_layers

__all__ = ["absorbed"]

Array64 = npt.NDArray[np.float64]

_NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})


@dataclass(frozen=True, eq=False)
class _Affine:
    """What stands between a normalized value and its readers.

    Attributes:
        value: what the readers read.
        gain, offset: (channels,).
        norm: the normalization that holds them; None where operators of their own do.
        plain: the value before these operators.
    """

    value: ir.Value
    gain: Array64 = field(repr=False)
    offset: Array64 = field(repr=False)
    norm: ir.Node | None
    plain: ir.Value | None


def absorbed(plan: Plan) -> Plan:
    """The plan with norms that have no gains and offsets of their own, where layers take them."""
    plan = replace(plan, graph=plan.graph.clone())
    model = plan.graph
    repeated = repeated_layers(model)
    layers = {
        layer.name: layer
        for layer in plan.layers
        if layer.name not in repeated and layer.window is None and layer.groups == 1
    }
    taken = names_in_use(model)
    changed: dict[str, Layer] = {}
    for node in list(model.graph):
        affine = _of_norm(node) or _of_operators(node)
        readers = None if affine is None else _readers(affine, layers, model.graph)
        if affine is None or readers is None:
            continue
        for layer in readers:
            changed[layer.name] = _taking(changed.get(layer.name, layer), affine)
        _leave_out(affine, model.graph, taken)
    RemoveUnusedNodesPass()(model)
    return replace(plan, layers=tuple(changed.get(one.name, one) for one in plan.layers))


def _of_norm(node: ir.Node) -> _Affine | None:
    """Gains and offsets that a normalization holds itself."""
    if node.op_type not in _NORMS or node.domain or not over_last(node):
        return None
    size = width(node.inputs[0])
    gain, offset = affine_of(node)
    if size is None or gain is None or offset is None:
        return None
    if gain.size not in (1, size) or offset.size not in (1, size):
        return None
    plain = bool((gain == 1).all()) and not offset.any()
    return None if plain else _affine(node.outputs[0], size, gain, offset, norm=node)


def _of_operators(node: ir.Node) -> _Affine | None:
    """A product of each channel of a normalized value, and a sum behind it."""
    split = _with_vector(node, "Mul")
    if split is None or not _is_normalized(split[0]):
        return None
    plain, gain = split
    last, offset = node, np.zeros(1)
    uses = tuple(node.outputs[0].uses())
    if len(uses) == 1 and not node.outputs[0].is_graph_output():
        behind = _with_vector(uses[0].node, "Add")
        if behind is not None and behind[0] is node.outputs[0]:
            last, offset = uses[0].node, behind[1]
    return _affine(last.outputs[0], gain.size, gain, offset, plain=plain)


def _affine(
    value: ir.Value,
    size: int,
    gain: Array,
    offset: Array,
    *,
    norm: ir.Node | None = None,
    plain: ir.Value | None = None,
) -> _Affine:
    spread = [np.broadcast_to(a.reshape(-1).astype(np.float64), (size,)) for a in (gain, offset)]
    return _Affine(value, spread[0], spread[1], norm, plain)


def _with_vector(node: ir.Node, op: str) -> tuple[ir.Value, Array] | None:
    """The operand of an operator whose other one is a constant a channel, and that constant."""
    if node.domain or node.op_type != op:
        return None
    for place in (0, 1):
        value, vector = node.inputs[1 - place], constant_array(node.inputs[place])
        if value is None or vector is None or constant_array(value) is not None:
            continue
        rank = 0 if value.shape is None else len(value.shape)
        if 1 <= vector.ndim <= rank and vector.size == vector.shape[-1] == width(value):
            return value, vector
    return None


def _is_normalized(value: ir.Value) -> bool:
    """Whether vectors were multiplied or divided by a number each, or by a norm of ONNX's."""
    node = value.producer()
    if node is None or node.domain:
        return False
    if node.op_type in _NORMS:
        return True
    numbers = [constant_array(v) is None and width(v) == 1 for v in node.inputs]
    return (node.op_type == "Div" and numbers[1:] == [True]) or (
        node.op_type == "Mul" and any(numbers)
    )


def _readers(affine: _Affine, layers: Mapping[str, Layer], graph: ir.Graph) -> list[Layer] | None:
    """The layers that read a value; None if anything else does."""
    value = affine.value
    if value.is_graph_output() or not value.uses():
        return None
    found = []
    for use in value.uses():
        layer = layers.get(layer_of(use.node)) if is_array_node(use.node) else None
        if layer is None or use.node.graph is not graph or layer.rows != affine.gain.size:
            return None
        if layer.nonnegative_input or layer.input_steps is not None:
            return None
        found.append(layer)
    return found


def _taking(layer: Layer, affine: _Affine) -> Layer:
    """The layer with gains in its rows and offsets in its bias."""
    weight = layer.weight.numpy().astype(np.float64)
    bias = layer.bias + affine.offset @ weight[0]
    weight *= affine.gain[:, None]
    return replace(layer, weight=Weight(weight.astype(np.float32)), bias=bias.astype(np.float32))


def _leave_out(affine: _Affine, graph: ir.Graph, taken: set[str]) -> None:
    """Have the readers read the normalized value itself."""
    if affine.plain is not None:
        ir.convenience.replace_all_uses_with(affine.value, affine.plain)
        return
    norm = affine.norm
    if norm is None:
        return
    gain = norm.inputs[1]
    name = fresh(f"{'' if gain is None else gain.name}/ones", taken)
    dtype = np.float32 if gain is None or gain.dtype is None else gain.dtype.numpy()
    ones = add_constant(graph, name, np.ones(affine.gain.size, dtype))
    norm.replace_input_with(1, ones)
    if len(norm.inputs) > 2:
        norm.resize_inputs(2)
