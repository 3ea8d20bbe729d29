"""Operators that ONNX Runtime's optimizer makes of several: those several again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import constant_tensor
from pimc.passes.lower.emitter import Emitter
from pimc.passes.simplify.deferred import turned, weight_source

__all__ = ["known_fusion", "split_conv", "split_gemm", "split_matmul", "turned_matrices"]

#: Emits an activation; its parameters come in the order of the operator's attributes.
_Activation = Callable[[Emitter, ir.Value, Sequence[float]], ir.Value]


def _clip(emit: Emitter, y: ir.Value, limits: Sequence[float]) -> ir.Value:
    return emit.op("Clip", y, *(_number(emit, limit) for limit in limits))


def _with(op: str, *names: str) -> _Activation:
    """An operator whose parameters are attributes of these names."""

    def activation(emit: Emitter, y: ir.Value, values: Sequence[float]) -> ir.Value:
        parameters: dict[str, Any] = dict(zip(names, values, strict=False))
        return emit.op(op, y, **parameters)

    return activation


_ACTIVATIONS: Mapping[str, _Activation] = {
    "Clip": _clip,
    "HardSigmoid": _with("HardSigmoid", "alpha", "beta"),
    "LeakyRelu": _with("LeakyRelu", "alpha"),
    "Relu": _with("Relu"),
    "Sigmoid": _with("Sigmoid"),
    "Tanh": _with("Tanh"),
}
#: Attributes that are not those of the operator in front of the activation.
_OWN = ("activation", "activation_params", "activation_alpha", "activation_beta")


def known_fusion(node: ir.Node) -> bool:
    """Its activation is Relu, LeakyRelu, Tanh, Sigmoid, HardSigmoid or Clip, if any.

    save the model before ONNX Runtime's optimizer fuses it
    """
    return node.attributes.get_string("activation", "") in ("", *_ACTIVATIONS)


def split_conv(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """FusedConv(x, w, b, z): activation(conv(x, w, b) + z)."""
    if not known_fusion(node):
        return None
    x, w, b, z = (*node.inputs, None, None)[:4]
    y = emit.op("Conv", x, w, b, **_attributes(node))
    if z is not None:
        y = emit.op("Add", y, z)
    return [_activated(node, emit, y, node.attributes.get_floats("activation_params", ()))]


def split_gemm(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """FusedGemm(a, b, c): activation(alpha · a b + beta · c)."""
    if not known_fusion(node):
        return None
    y = emit.op("Gemm", *node.inputs, **_attributes(node))
    names = ("activation_alpha", "activation_beta")
    given = [name for name in names if name in node.attributes]
    return [_activated(node, emit, y, [node.attributes.get_float(name, 0.0) for name in given])]


def turned_matrices(node: ir.Node) -> bool:
    """It transposes matrices only, of operands of known rank.

    save the model before ONNX Runtime's optimizer fuses it
    """
    matrices = (node.attributes.get_int(name, 0) for name in ("transA", "transB"))
    batches = (node.attributes.get_int(name, 0) for name in ("transBatchA", "transBatchB"))
    ranks = [0 if v is None or v.shape is None else len(v.shape) for v in node.inputs[:2]]
    return not any(batches) and all(
        rank >= 2 for rank, turn in zip(ranks, matrices, strict=True) if turn
    )


def split_matmul(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """FusedMatMul(a, b): alpha · a b, with the matrices of a or b transposed."""
    if not turned_matrices(node):
        return None
    operands = [
        _turned(value, emit) if node.attributes.get_int(name, 0) else value
        for value, name in zip(node.inputs, ("transA", "transB"), strict=True)
    ]
    y = emit.op("MatMul", *operands)
    alpha = node.attributes.get_float("alpha", 1.0)
    return [y if alpha == 1.0 else emit.op("Mul", y, _number(emit, alpha))]


def _turned(value: ir.Value | None, emit: Emitter) -> ir.Value | None:
    if value is None or value.shape is None:
        return value
    if (tensor := constant_tensor(value)) is not None:
        return emit.once(("turned", value), lambda: _constant(value, tensor, emit))
    axes = list(range(len(value.shape)))
    return emit.op("Transpose", value, perm=[*axes[:-2], axes[-1], axes[-2]])


def _constant(value: ir.Value, tensor: ir.TensorProtocol, emit: Emitter) -> ir.Value:
    source = weight_source(value) if len(tensor.shape) == 2 else None
    if source is not None:
        return emit.deferred(turned(source), value.name, tensor.dtype)
    return emit.weight(np.swapaxes(tensor.numpy(), -2, -1), value.name)


def _number(emit: Emitter, value: float) -> ir.Value:
    """A constant of the type that the node has, that of its weight."""
    tensors = (constant_tensor(operand) for operand in emit.node.inputs)
    dtype = next((t.dtype for t in tensors if t is not None), ir.DataType.FLOAT)
    return emit.constant(np.asarray(value, dtype.numpy()))


def _activated(node: ir.Node, emit: Emitter, y: ir.Value, parameters: Sequence[float]) -> ir.Value:
    name = node.attributes.get_string("activation", "")
    return _ACTIVATIONS[name](emit, y, parameters) if name else y


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {n: a.value for n, a in node.attributes.items() if n not in _OWN}
