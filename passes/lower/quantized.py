"""Networks quantized elsewhere: their integer operators as float ones between quantizers.

The values are the same; what the array is asked for is the product of the numbers that the
integers stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from pimc.passes.constants import Array, constant_array, constant_tensor
from pimc.passes.deferred import deferrable, dequantized
from pimc.passes.lower.emitter import Emitter

__all__ = ["lower_integer", "lower_qlinear"]

#: The float operator of each integer one.
FLOAT_OPS: Mapping[str, str] = {
    "ConvInteger": "Conv",
    "MatMulInteger": "MatMul",
    "QLinearConv": "Conv",
    "QLinearMatMul": "MatMul",
}


def lower_qlinear(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b) and QLinearMatMul, which has no b."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    conv = node.op_type == "QLinearConv"
    if not per_tensor(node):
        return None
    weight = _weight(emit, w, w_zero, w_scale, axis=0 if conv else -1)
    if weight is None:
        return None
    operands: list[ir.Value | None] = [emit.op("DequantizeLinear", x, x_scale, x_zero), weight]
    if len(node.inputs) > 8 and node.inputs[8] is not None:
        bias = [constant_array(value) for value in (node.inputs[8], x_scale, w_scale)]
        units = np.asarray(bias[1], np.float64) * np.asarray(bias[2], np.float64)
        operands.append(emit.constant((np.asarray(bias[0]) * units).astype(np.float32)))
    y = emit.op(FLOAT_OPS[node.op_type], *operands, **_attributes(node))
    return [emit.op("QuantizeLinear", y, y_scale, y_zero)]


def lower_integer(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """ConvInteger and MatMulInteger (x, w, zx, zw): sums of products of whole numbers."""
    x, w, x_zero, w_zero = (*node.inputs, None, None)[:4]
    if not per_tensor(node):
        return None
    weight = _weight(emit, w, w_zero, None, axis=0 if node.op_type == "ConvInteger" else -1)
    if weight is None:
        return None
    number = emit.op("Cast", x, to=ir.DataType.FLOAT.value)
    if x_zero is not None:
        number = emit.op("Sub", number, emit.op("Cast", x_zero, to=ir.DataType.FLOAT.value))
    y = emit.op(FLOAT_OPS[node.op_type], number, weight, **_attributes(node))
    return [emit.op("Cast", emit.op("Round", y), to=ir.DataType.INT32.value)]


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {name: attribute.value for name, attribute in node.attributes.items()}


def per_tensor(node: ir.Node) -> bool:
    """Whether the activation has one scale and zero point, and the weight's are constants.

    A bias is in units of both scales, which must then be constants as well.
    """
    if node.op_type in ("ConvInteger", "MatMulInteger"):
        activation, fixed = node.inputs[2:3], node.inputs[3:4]
    else:
        activation, fixed = node.inputs[1:3], node.inputs[4:6]
        if len(node.inputs) > 8 and node.inputs[8] is not None:
            fixed = (*fixed, node.inputs[1], node.inputs[8])
    parameters = [constant_tensor(value) for value in fixed if value is not None]
    return all(_single(value) for value in activation if value is not None) and all(
        tensor is not None and (tensor.size == 1 or len(tensor.shape) == 1) for tensor in parameters
    )


def _single(value: ir.Value | None) -> bool:
    """Whether one number holds for the whole activation."""
    if value is None or value.shape is None:
        return False
    return all(dim == 1 for dim in value.shape)


def _weight(
    emit: Emitter, codes: ir.Value | None, zero: ir.Value | None, scale: ir.Value | None, axis: int
) -> ir.Value | None:
    """What the layer is made of, worked out later where it is large; None if not constant."""
    tensor = constant_tensor(codes)
    if codes is None or tensor is None:
        return None
    if deferrable(tensor):
        unit = np.ones((), np.float32) if scale is None else constant_array(scale)
        source = None if unit is None else dequantized(tensor, unit, constant_array(zero), axis)
        if source is not None:
            return emit.deferred(source, codes.name)
    numbers = _numbers(codes, zero, scale, axis)
    return None if numbers is None else emit.weight(numbers, codes.name)


def _numbers(
    weight: ir.Value | None, zero: ir.Value | None, scale: ir.Value | None, axis: int
) -> Array | None:
    """(w − zero point) · scale in float32, per tensor or along ``axis``; None if not constant."""
    array = constant_array(weight)
    if array is None or array.size == 0:
        return None
    result = array.astype(np.float32)
    for value, apply in ((zero, np.subtract), (scale, np.multiply)):
        if value is None:
            continue
        parameter = constant_array(value)
        if parameter is None:
            return None
        shape = [1] * array.ndim
        if parameter.size > 1:
            shape[axis] = parameter.size
        result = apply(result, parameter.astype(np.float32).reshape(shape))
    return result
