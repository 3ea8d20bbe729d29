"""Batch norms that the rewriting library leaves: tied weights, and those after other ops."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import add_constant, constant_array, fresh

_FUSED_INTO = ("Conv", "ConvTranspose", "Gemm")
#: scale, bias, mean and variance.
_PARAMETERS = slice(1, 5)


def untie_batchnorms(model: ir.Model) -> bool:
    """Give a layer before a batch norm its own weights where it shares them; whether any did.

    A batch norm can only be folded into a weight that nobody else reads.
    """
    graph = model.graph
    before = len(graph.initializers)
    for node in graph:
        layer = _layer_before(node)
        if layer is None:
            continue
        for index, value in enumerate(layer.inputs[1:], start=1):
            if value is None or len(value.uses()) < 2 or value.is_graph_input():
                continue
            if value.name in graph.initializers and value.const_value is not None:
                layer.replace_input_with(index, _copy(graph, value))
    return len(graph.initializers) > before


def _layer_before(node: ir.Node) -> ir.Node | None:
    """The layer whose output only ``node``, a batch norm, reads."""
    if node.op_type != "BatchNormalization" or node.domain or node.inputs[0] is None:
        return None
    value = node.inputs[0]
    producer = value.producer()
    if producer is None or producer.op_type not in _FUSED_INTO or producer.domain:
        return None
    return producer if len(value.uses()) == 1 and not value.is_graph_output() else None


def _copy(graph: ir.Graph, value: ir.Value) -> ir.Value:
    copy = ir.Value(
        name=fresh(f"{value.name}#2", set(ir.convenience.create_value_mapping(graph))),
        type=value.type,
        shape=value.shape,
        const_value=value.const_value,
    )
    graph.register_initializer(copy)
    return copy


def affine_batchnorms(model: ir.Model) -> bool:
    """Replace batch norms in inference form by ``Mul`` and ``Add``; whether there was any.

    y = x·s + (b − m·s) with s = gamma / √(var + epsilon), the definition of ONNX's
    BatchNormalization; computed in float64, stored in the input's type.
    """
    graph = model.graph
    norms = [n for n in graph if n.op_type == "BatchNormalization" and not n.domain]
    for node in norms:
        _to_affine(graph, node)
    return bool(norms)


def _to_affine(graph: ir.Graph, node: ir.Node) -> None:
    data, output = node.inputs[0], node.outputs[0]
    parameters = [constant_array(value) for value in node.inputs[_PARAMETERS]]
    training = node.attributes.get_int("training_mode", 0)
    extra_outputs = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    if data is None or data.shape is None or training or extra_outputs:
        return
    if len(parameters) != 4 or any(array is None for array in parameters):
        return
    gamma, beta, mean, variance = (np.asarray(a, dtype=np.float64) for a in parameters)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - mean * scale
    dtype = data.dtype or ir.DataType.FLOAT
    per_channel = (-1, *(1,) * (len(data.shape) - 2))
    taken = set(ir.convenience.create_value_mapping(graph))
    values = []
    for suffix, array in (("scale", scale), ("shift", shift)):
        stored = array.reshape(per_channel).astype(dtype.numpy())
        values.append(add_constant(graph, fresh(f"{output.name}/{suffix}", taken), stored))
    scaled = ir.Value(
        name=fresh(f"{output.name}/scaled", taken), type=output.type, shape=output.shape
    )
    multiply = ir.Node("", "Mul", [data, values[0]], outputs=[scaled], name=f"{node.name}/scale")
    add = ir.Node("", "Add", [scaled, values[1]], name=f"{node.name}/shift")
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [multiply, add], [output], [add.outputs[0]]
    )
