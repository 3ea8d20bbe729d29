"""Attention of ONNX Runtime's own operators: the projection on the array, the rest digital.

com.microsoft.Attention multiplies its input by one matrix for queries, keys and values
together; everything behind that product has no weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from pimc.passes.constants import constant_array, constant_tensor
from pimc.passes.lower.emitter import Emitter

__all__ = ["lower_attention"]

#: Attributes that change what is computed in a way that is left to ONNX Runtime.
_UNUSUAL = ("unidirectional", "do_rotary", "past_present_share_buffer", "rotary_embedding_dim")
_MASKED = -10000.0


def plain(node: ir.Node) -> bool:
    """Whether there is no past, nothing unusual, and a mask of (batch, keys) if any."""
    given = [*node.inputs, *[None] * (5 - len(node.inputs))]
    mask, past = given[3:5]
    flat = mask is None or (mask.shape is not None and len(mask.shape) == 2)
    unusual = any(node.attributes.get_int(name, 0) for name in _UNUSUAL)
    return flat and past is None and not unusual and not _read(node, 1)


def lower_attention(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """softmax(QKᵀ · scale + mask) V with (Q, K, V) = x W + b.

    A mask of (batch, keys) with ones where a key counts; past keys and values are left alone.
    """
    inputs = [*node.inputs, *[None] * (7 - len(node.inputs))]
    x, weights, bias, mask, _, added, _ = inputs[:7]
    attributes = node.attributes
    tensor = constant_tensor(weights)
    if tensor is None or weights is None or x is None or not plain(node):
        return None
    heads = attributes.get_int("num_heads", 1)
    sizes = list(
        attributes.get_ints("qkv_hidden_sizes", ()) or [int(tensor.shape.numpy()[1]) // 3] * 3
    )
    y = emit.op("MatMul", x, emit.weight(_array(weights), weights.name))
    if bias is not None:
        y = emit.op("Add", y, bias)
    first = emit.op("Split", y, emit.integers(sizes), outputs=3, axis=-1)
    producer = first.producer()
    q, k, v = (
        emit.op(
            "Transpose",
            emit.op("Reshape", value, emit.integers([0, 0, heads, size // heads])),
            perm=perm,
        )
        for value, size, perm in zip(
            producer.outputs if producer is not None else (),
            sizes,
            ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]),
            strict=True,
        )
    )
    scale = attributes.get_float("scale", 0.0) or (sizes[0] // heads) ** -0.5
    scores = emit.op("Mul", emit.op("MatMul", q, k), emit.constant(np.asarray(scale, np.float32)))
    if added is not None:
        scores = emit.op("Add", scores, added)
    if mask is not None:
        value = attributes.get_float("mask_filter_value", _MASKED)
        hidden = emit.op("Equal", mask, emit.constant(np.asarray(0, np.int32)))
        amount = emit.op("Cast", hidden, to=ir.DataType.FLOAT.value)
        amount = emit.op("Mul", amount, emit.constant(np.asarray(value, np.float32)))
        scores = emit.op("Add", scores, emit.op("Unsqueeze", amount, emit.integers([1, 2])))
    mixed = emit.op("MatMul", emit.op("Softmax", scores, axis=-1), v)
    mixed = emit.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return [emit.op("Reshape", mixed, emit.integers([0, 0, sizes[2]])), None]


def _read(node: ir.Node, index: int) -> bool:
    """Whether anybody reads an output."""
    if index >= len(node.outputs):
        return False
    value = node.outputs[index]
    return bool(value.uses()) or value.is_graph_output()


def _array(value: ir.Value) -> np.ndarray:
    return np.asarray(constant_array(value))
