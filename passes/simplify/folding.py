"""Constants that the folding library leaves: old DequantizeLinear, and Split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array, become_constant, constant_array


def fold_leftovers(model: ir.Model) -> bool:
    """Fold what has a rule here; returns whether anything changed."""
    folded = [_fold_node(model.graph, node) for node in list(model.graph)]
    return any(folded)


def _fold_node(graph: ir.Graph, node: ir.Node) -> bool:
    rule = _RULES.get(node.op_type) if not node.domain else None
    if rule is None or any(value.is_graph_output() for value in node.outputs):
        return False
    operands = [constant_array(value) for value in node.inputs]
    if any(array is None for array in operands):
        return False
    arrays = rule(node, [array for array in operands if array is not None])
    if len(arrays) != len(node.outputs):
        return False
    for value, array in zip(node.outputs, arrays, strict=True):
        become_constant(graph, value, ir.tensor(np.asarray(array, order="C")))
    graph.remove(node, safe=True)
    return True


def _dequantize(node: ir.Node, operands: list[Array]) -> list[Array]:
    """(x − zero point)·scale, per tensor or per channel along ``axis``.

    Blocked scales exist from opset 21 on, where the library folds them.
    """
    data, scale = operands[:2]
    zero = operands[2] if len(operands) > 2 else np.zeros_like(scale)
    if scale.ndim > 1 or data.dtype.kind not in "iu":
        return []
    shape = [1] * data.ndim
    if scale.size > 1:
        shape[node.attributes.get_int("axis", 1)] = -1
    difference = data.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return [(difference * scale.reshape(shape)).astype(scale.dtype)]


def _split(node: ir.Node, operands: list[Array]) -> list[Array]:
    axis, count = node.attributes.get_int("axis", 0), len(node.outputs)
    length = operands[0].shape[axis]
    sizes = operands[1] if len(operands) > 1 else np.full(count, -(-length // count))
    return np.split(operands[0], np.cumsum(sizes)[:-1], axis=axis)


_RULES: dict[str, Callable[[ir.Node, list[Array]], list[Array]]] = {
    "DequantizeLinear": _dequantize,
    "Split": _split,
}
