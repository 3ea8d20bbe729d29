"""ONNX Runtime's own quantizers as ONNX's, so that weights behind them come to light."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

__all__ = ["standard_quantizers"]

#: Types of codes, and the first opset in which ONNX's quantizers know them.
_SINCE: Mapping[ir.DataType | None, int] = {
    ir.DataType.INT8: 10,
    ir.DataType.UINT8: 10,
    ir.DataType.INT32: 10,
    ir.DataType.INT16: 21,
    ir.DataType.UINT16: 21,
    ir.DataType.INT4: 21,
    ir.DataType.UINT4: 21,
}
#: Likewise of scales.
_SCALES: Mapping[ir.DataType | None, int] = {
    ir.DataType.FLOAT: 10,
    ir.DataType.FLOAT16: 19,
    ir.DataType.BFLOAT16: 19,
}
#: Which operands of each are of the type of the codes.
_CODES = {"DequantizeLinear": (0, 2), "QuantizeLinear": (2,)}


def standard_quantizers(model: ir.Model) -> bool:
    """Move QuantizeLinear and DequantizeLinear to ONNX's domain; whether there was any."""
    opset = model.opset_imports.get("", 0)
    moved = [
        node
        for node in model.graph.all_nodes()
        if node.domain == "com.microsoft" and node.op_type in _CODES and _known(node, opset)
    ]
    for node in moved:
        node.domain = ""
    return bool(moved)


def _known(node: ir.Node, opset: int) -> bool:
    kinds = [_dtype(node, place) for place in _CODES[node.op_type]]
    kind = next((k for k in kinds if k is not None), None)
    if kind is None and node.op_type == "QuantizeLinear" and len(node.inputs) == 2:
        kind = ir.DataType.UINT8
    since = max(_SINCE.get(kind, opset + 1), _SCALES.get(_dtype(node, 1), opset + 1))
    return opset >= since


def _dtype(node: ir.Node, place: int) -> ir.DataType | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None else value.dtype
