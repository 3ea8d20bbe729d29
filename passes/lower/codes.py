"""ONNX Runtime's operators from codes to codes that hold no weights: float ones in between.

What a gradient can pass through is trained through; an operator on codes it cannot pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from pimc.passes.lower.emitter import Emitter
from pimc.passes.lower.quantized import single

__all__ = ["CODE_OPS", "split_codes"]

#: The float operator of each that takes so many operands, each with scale and zero point,
#: and the scale and zero point of its result.
_FLOAT_OPS: Mapping[str, tuple[str, int]] = {
    "QLinearAdd": ("Add", 2),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
}
#: All that are taken apart here.
CODE_OPS = (*_FLOAT_OPS, "QLinearConcat")


def split_codes(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """Dequantize, compute, quantize; None where scales are not one a tensor, or codes not those
    that quantizing gives without a zero point.
    """
    given = [*node.inputs]
    if node.op_type == "QLinearConcat":
        op, result, operands = "Concat", given[:2], given[2:]
    else:
        op, count = _FLOAT_OPS[node.op_type]
        given += [None] * (3 * count + 2 - len(given))
        result, operands = given[3 * count :], given[: 3 * count]
    attributes = {name: a.value for name, a in node.attributes.items()}
    if attributes.pop("channels_last", 0):
        return None
    triples = [operands[k : k + 3] for k in range(0, len(operands), 3)]
    scales = [result[0], *(triple[1] for triple in triples)]
    if not all(single(scale) for scale in scales):
        return None
    if result[1] is None and node.outputs[0].dtype != ir.DataType.UINT8:
        return None
    numbers = [emit.op("DequantizeLinear", *triple) for triple in triples]
    y = emit.op(op, *numbers, **attributes)
    return [emit.op("QuantizeLinear", y, *result)]
