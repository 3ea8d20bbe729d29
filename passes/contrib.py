"""ONNX Runtime's own quantizers as ONNX's, so that weights behind them come to light."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["standard_quantizers"]

#: Types of codes, and the first opset in which ONNX's quantizers know them.
_SINCE = {
    ir.DataType.INT8: 10,
    ir.DataType.UINT8: 10,
    ir.DataType.INT32: 10,
    ir.DataType.INT16: 21,
    ir.DataType.UINT16: 21,
    ir.DataType.INT4: 21,
    ir.DataType.UINT4: 21,
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
    values = (node.inputs[k] for k in _CODES[node.op_type] if k < len(node.inputs))
    kinds = [value.dtype for value in values if value is not None and value.dtype is not None]
    return bool(kinds) and opset >= _SINCE.get(kinds[0], opset + 1)
