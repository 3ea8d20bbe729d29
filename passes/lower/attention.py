"""Attention of ONNX Runtime's own operators: the projection on the array, the rest digital.

com.microsoft.Attention multiplies its input by one matrix for queries, keys and values
together; everything behind that product has no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array, constant_array, constant_tensor
from pimc.passes.lower.emitter import Emitter

__all__ = ["lower_attention", "plain_attention"]

#: Attributes that change what is computed in a way that is left to ONNX Runtime.
_UNUSUAL = ("do_rotary", "past_present_share_buffer", "rotary_embedding_dim")
_MASKED = -10000.0
#: Which operand is the mask.
_MASK: Mapping[str, int] = {"Attention": 3, "QAttention": 5}


def plain_attention(node: ir.Node) -> bool:
    """No rotary embedding, no buffer that past and present share, and a mask of (batch, keys) if
    any.

    export attention as separate operators
    """
    place = _MASK[node.op_type]
    mask = node.inputs[place] if len(node.inputs) > place else None
    flat = mask is None or (mask.shape is not None and len(mask.shape) == 2)
    return flat and not any(node.attributes.get_int(name, 0) for name in _UNUSUAL)


def lower_attention(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """softmax(QKᵀ · scale + mask) V with (Q, K, V) = x W + b.

    A mask of (batch, keys) with ones where a key counts. Keys and values of the past come first.
    """
    inputs = [*node.inputs, *[None] * (7 - len(node.inputs))]
    x, weights, bias, mask, past, added, _ = inputs[:7]
    attributes = node.attributes
    tensor = constant_tensor(weights)
    if tensor is None or weights is None or x is None or not plain_attention(node):
        return None
    heads = attributes.get_int("num_heads", 1)
    sizes = list(
        attributes.get_ints("qkv_hidden_sizes", ()) or [int(tensor.shape.numpy()[1]) // 3] * 3
    )
    weight = emit.once(("attention", weights), lambda: emit.weight(_array(weights), weights.name))
    dtype = tensor.dtype.numpy()
    y = emit.op("MatMul", x, weight)
    if bias is not None:
        y = emit.op("Add", y, bias)
    thirds = emit.ops("Split", y, emit.integers(sizes), outputs=3, axis=-1)
    q, k, v = (
        emit.op(
            "Transpose",
            emit.op("Reshape", value, emit.integers([0, 0, heads, size // heads])),
            perm=[0, 2, 1, 3],
        )
        for value, size in zip(thirds, sizes, strict=True)
    )
    if past is not None:
        k, v = (
            emit.op("Concat", emit.op("Gather", past, emit.index(part), axis=0), value, axis=2)
            for part, value in enumerate((k, v))
        )
    scale = attributes.get_float("scale", 0.0) or (sizes[0] // heads) ** -0.5
    products = emit.op("MatMul", q, emit.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = emit.op("Mul", products, emit.constant(np.asarray(scale, dtype)))
    if added is not None:
        scores = emit.op("Add", scores, added)
    lowest = float(ir.DataType.from_numpy(dtype).min)  # an infinity times zero is no number
    value = np.asarray(max(attributes.get_float("mask_filter_value", _MASKED), lowest), dtype)
    if mask is not None:
        hidden = emit.op("Equal", mask, emit.constant(np.asarray(0, np.int32)))
        amount = _amount(emit, hidden, value)
        scores = emit.op("Add", scores, emit.op("Unsqueeze", amount, emit.integers([1, 2])))
    if attributes.get_int("unidirectional", 0):
        never = emit.constant(np.asarray(lowest, dtype))
        scores = emit.op("Where", _later(emit, scores), never, scores)
    mixed = emit.op("MatMul", emit.op("Softmax", scores, axis=-1), v)
    mixed = emit.op("Transpose", mixed, perm=[0, 2, 1, 3])
    present = None
    if _read(node, 1):
        apart = (emit.op("Unsqueeze", value, emit.integers([0])) for value in (k, v))
        present = emit.op("Concat", *apart, axis=0)
    return [emit.op("Reshape", mixed, emit.integers([0, 0, sizes[2]])), present]


def _later(emit: Emitter, scores: ir.Value) -> ir.Value:
    """(queries, keys) whether a key comes after the query; the last of both is the same."""
    shape = emit.op("Shape", scores)
    queries, keys = (emit.op("Gather", shape, emit.index(axis)) for axis in (2, 3))
    zero, one = emit.index(0), emit.index(1)
    key = emit.op("Range", zero, keys, one)
    query = emit.op("Range", emit.op("Sub", keys, queries), keys, one)
    return emit.op("Greater", key, emit.op("Unsqueeze", query, emit.integers([1])))


def _amount(emit: Emitter, hidden: ir.Value, value: Array) -> ir.Value:
    """What is added where something is hidden."""
    number = emit.op("Cast", hidden, to=ir.DataType.from_numpy(value.dtype).value)
    return emit.op("Mul", number, emit.constant(value))


def _read(node: ir.Node, index: int) -> bool:
    """Whether anybody reads an output."""
    if index >= len(node.outputs):
        return False
    value = node.outputs[index]
    return bool(value.uses()) or value.is_graph_output()


def _array(value: ir.Value) -> Array:
    return np.asarray(constant_array(value))
