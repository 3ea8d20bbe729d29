"""Networks quantized elsewhere: their integer operators as float ones between quantizers.

The values are the same; what the array is asked for is the product of the numbers that the
integers stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array, constant_array, constant_tensor
from pimc.passes.lower.attention import plain_attention
from pimc.passes.lower.emitter import Emitter
from pimc.passes.simplify.deferred import deferrable, dequantized

__all__ = [
    "lower_integer",
    "lower_qlinear",
    "scalar_scales",
    "single",
    "split_dynamic",
    "split_dynamic_lstm",
    "split_qattention",
    "split_qgemm",
    "split_to_float",
]

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
    if not scalar_scales(node):
        return None
    weight = _weight(emit, w, w_zero, w_scale, axis=0 if conv else -1)
    if weight is None:
        return None
    operands: list[ir.Value | None] = [emit.op("DequantizeLinear", x, x_scale, x_zero), weight]
    if len(node.inputs) > 8 and node.inputs[8] is not None:
        operands.append(emit.constant(_in_units(node.inputs[8], x_scale, w_scale)))
    y = emit.op(FLOAT_OPS[node.op_type], *operands, **_attributes(node))
    return [emit.op("QuantizeLinear", y, y_scale, y_zero)]


def lower_integer(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """ConvInteger and MatMulInteger (x, w, zx, zw): sums of products of whole numbers."""
    x, w, x_zero, w_zero = (*node.inputs, None, None)[:4]
    if not scalar_scales(node):
        return None
    weight = _weight(emit, w, w_zero, None, axis=0 if node.op_type == "ConvInteger" else -1)
    if weight is None:
        return None
    number = emit.op("Cast", x, to=ir.DataType.FLOAT.value)
    if x_zero is not None:
        number = emit.op("Sub", number, emit.op("Cast", x_zero, to=ir.DataType.FLOAT.value))
    y = emit.op(FLOAT_OPS[node.op_type], number, weight, **_attributes(node))
    if _read_as_floats(node.outputs[0]):
        node.outputs[0].dtype = ir.DataType.FLOAT
        return [y]
    return [emit.op("Cast", emit.op("Round", y), to=ir.DataType.INT32.value)]


def _read_as_floats(value: ir.Value) -> bool:
    """Whether everybody who reads whole numbers makes floats of them."""
    return not value.is_graph_output() and all(
        use.node.op_type == "Cast"
        and not use.node.domain
        and use.node.attributes.get_int("to", 0) == ir.DataType.FLOAT
        for use in value.uses()
    )


def split_to_float(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """MatMulIntegerToFloat(x, w, sx, sw, zx, zw, b): the product of the numbers, and a bias."""
    x, w, x_scale, w_scale, x_zero, w_zero, bias = (*node.inputs, None, None, None)[:7]
    if not scalar_scales(node):
        return None
    weight = _weight(emit, w, w_zero, w_scale, axis=-1)
    if weight is None:
        return None
    y = emit.op("MatMul", emit.op("DequantizeLinear", x, x_scale, x_zero), weight)
    return [y if bias is None else emit.op("Add", y, bias)]


def split_dynamic(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """DynamicQuantizeMatMul(x, w, sw, zw, b): of inputs in codes of the range they have."""
    x, w, w_scale, w_zero, bias = (*node.inputs, None, None)[:5]
    if not scalar_scales(node):
        return None
    weight = _weight(emit, w, w_zero, w_scale, axis=-1)
    if weight is None:
        return None
    y = emit.op("MatMul", _through_codes(emit, x), weight)
    return [y if bias is None else emit.op("Add", y, bias)]


def split_qgemm(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """QGemm(x, sx, zx, w, sw, zw, c, sy, zy): alpha · x w + c, in codes if sy is there."""
    x, x_scale, x_zero, w, w_scale, w_zero, c, y_scale, y_zero = (*node.inputs, *[None] * 3)[:9]
    if not scalar_scales(node):
        return None
    weight = _weight(
        emit, w, w_zero, w_scale, axis=0 if node.attributes.get_int("transB", 0) else 1
    )
    if weight is None:
        return None
    operands = [emit.op("DequantizeLinear", x, x_scale, x_zero), weight]
    y = emit.op("Gemm", *operands, **_attributes(node))
    if c is not None:
        alpha = node.attributes.get_float("alpha", 1.0)
        y = emit.op("Add", y, emit.constant(_in_units(c, x_scale, w_scale) * np.float32(alpha)))
    return [y if y_scale is None else emit.op("QuantizeLinear", y, y_scale, y_zero)]


def split_qattention(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """QAttention(x, w, b, sx, sw, mask, zx, zw, past): Attention of the numbers."""
    x, w, bias, x_scale, w_scale, mask, x_zero, w_zero, past = (*node.inputs, *[None] * 4)[:9]
    if not (scalar_scales(node) and plain_attention(node)):
        return None
    weight = _weight(emit, w, w_zero, w_scale, axis=-1)
    if weight is None:
        return None
    operands = (emit.op("DequantizeLinear", x, x_scale, x_zero), weight, bias, mask, past)
    count = len(node.outputs)
    return emit.ops("Attention", *operands, domain=node.domain, outputs=count, **_attributes(node))


def split_dynamic_lstm(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """DynamicQuantizeLSTM(x, w, r, …, sw, zw, sr, zr): an LSTM of the numbers, inputs as they are.

    Weights lie (directions, inputs, gates), those of an LSTM the other way round.
    """
    given = [*node.inputs, *[None] * (12 - len(node.inputs))]
    if any(constant_tensor(given[k]) is None for k in (1, 2, 8, 9, 10, 11)):
        return None
    values = [
        emit.once(("gates", *parts), partial(_of_directions, emit, *parts))
        for parts in ((given[1], *given[8:10]), (given[2], *given[10:12]))
    ]
    operands = [given[0], *values, *given[3:8]]
    return emit.ops("LSTM", *operands, outputs=len(node.outputs), **_attributes(node))


def _of_directions(
    emit: Emitter, codes: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None
) -> ir.Value:
    """Numbers of codes with scales for each direction, or each of its gates' columns."""
    whole, unit, middle = (
        np.asarray(constant_array(value), np.float32) for value in (codes, scale, zero)
    )
    spread = (len(whole), 1, -1)
    numbers = (whole - middle.reshape(spread)) * unit.reshape(spread)
    return emit.weight(numbers.transpose(0, 2, 1), None if codes is None else codes.name)


def _through_codes(emit: Emitter, x: ir.Value | None) -> ir.Value:
    """Numbers rounded to codes of the range they have."""
    return emit.op("DequantizeLinear", *emit.ops("DynamicQuantizeLinear", x, outputs=3))


def _in_units(value: ir.Value, x_scale: ir.Value | None, w_scale: ir.Value | None) -> Array:
    """What a bias in units of both scales stands for, in float32."""
    whole, *units = (np.asarray(constant_array(v), np.float64) for v in (value, x_scale, w_scale))
    return np.asarray(whole * units[0] * units[1], np.float32)


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {name: attribute.value for name, attribute in node.attributes.items()}


@dataclass(frozen=True)
class _Operands:
    """Which operands of an operator say what codes stand for.

    Attributes:
        activation: scale and zero point of the activation.
        weight: those of the weight.
        bias: one in units of both scales, which must then be constants.
    """

    activation: tuple[int, ...]
    weight: tuple[int, ...]
    bias: int | None = None


_OPERANDS: Mapping[str, _Operands] = {
    "ConvInteger": _Operands((2,), (3,)),
    "DynamicQuantizeMatMul": _Operands((), (2, 3)),
    "MatMulInteger": _Operands((2,), (3,)),
    "MatMulIntegerToFloat": _Operands((2, 4), (3, 5)),
    "QAttention": _Operands((3, 6), (4, 7)),
    "QGemm": _Operands((1, 2), (4, 5), 6),
    "QLinearConv": _Operands((1, 2), (4, 5), 8),
    "QLinearMatMul": _Operands((1, 2), (4, 5)),
}


def scalar_scales(node: ir.Node) -> bool:
    """The activation has one scale and one zero point, of known shape, if any; those of the
    weight, and a bias, are constants of one dimension at most.

    quantize activations per tensor

    A bias is in units of both scales, which must then be constants as well.
    """
    operands = _OPERANDS[node.op_type]
    fixed = operands.weight
    if operands.bias is not None and _given(node, operands.bias) is not None:
        fixed = (*fixed, operands.activation[0], operands.bias)
    parameters = [constant_tensor(v) for k in fixed if (v := _given(node, k)) is not None]
    return all(
        single(value) for k in operands.activation if (value := _given(node, k)) is not None
    ) and all(
        tensor is not None and (tensor.size == 1 or len(tensor.shape) == 1) for tensor in parameters
    )


def _given(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def single(value: ir.Value | None) -> bool:
    """Whether one number holds for the whole activation."""
    if value is None or value.shape is None:
        return False
    return all(dim == 1 for dim in value.shape)


def _weight(
    emit: Emitter, codes: ir.Value | None, zero: ir.Value | None, scale: ir.Value | None, axis: int
) -> ir.Value | None:
    """What the layer is made of, worked out later where it is large; None if not constant."""
    key = ("codes", codes, zero, scale, axis)
    return emit.once(key, lambda: _made(emit, codes, zero, scale, axis))


def _made(
    emit: Emitter, codes: ir.Value | None, zero: ir.Value | None, scale: ir.Value | None, axis: int
) -> ir.Value | None:
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
