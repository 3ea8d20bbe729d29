"""Ops that nobody can run: unknown domains and unknown names."""

from __future__ import annotations

from functools import cache

import onnx
import onnx_ir as ir

from pimc.plan.records import is_array_node

_ONNX_DOMAINS = ("", "ai.onnx.ml")
_MICROSOFT = "com.microsoft"
_REPLACE = "replace the op before exporting, or export it as a function of ONNX ops"


def why_unknown(node: ir.Node, model: ir.Model) -> tuple[str, str] | None:
    """Reason and fix if neither ONNX nor ONNX Runtime defines the op of ``node``."""
    domain, op = node.domain, node.op_type
    if is_array_node(node) or node.op_identifier() in model.functions:
        return None
    if domain == _MICROSOFT:
        if op in _microsoft_ops():
            return None
        return f"ONNX Runtime has no op {op} in domain {domain}", _REPLACE
    if domain not in _ONNX_DOMAINS:
        return f"domain {domain} is unknown", _REPLACE
    opset = model.opset_imports.get(domain)
    if opset is None:
        return f"the model imports no opset of domain {domain or 'ai.onnx'}", "add the import"
    if not onnx.defs.has(op, domain):
        return f"ONNX has no op {op}", _REPLACE
    if not _defined(op, opset, domain):
        return f"ONNX has no op {op} at opset {opset}", "export at an opset that has it"
    return None


def _defined(op: str, opset: int, domain: str) -> bool:
    try:
        return not onnx.defs.get_schema(op, opset, domain).deprecated
    except onnx.defs.SchemaError:
        return False


@cache
def _microsoft_ops() -> frozenset[str]:
    # Imported here: few models need the list and loading ONNX Runtime takes a while.
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    schemas = runtime.get_all_operator_schema()
    return frozenset(schema.name for schema in schemas if schema.domain == _MICROSOFT)
