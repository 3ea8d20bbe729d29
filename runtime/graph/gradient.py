"""Where a gradient ends: what the outputs of a node are made of, and how smoothly."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from pimc.runtime.graph.functions import domain_of, schema_of
from pimc.runtime.graph.native import Setting
from pimc.runtime.ops.registry import lookup
from pimc.runtime.ops.values import torch_dtype_of

# The outputs stand for the inputs' values, but their derivative is zero or there is none.
_FLAT = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "BitCast",
        "Ceil",
        "ConvInteger",
        "Floor",
        "Hardmax",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "Round",
        "Sign",
    }
)
# They round, and the gradient passes straight through.
_STRAIGHT = frozenset({"DynamicQuantizeLinear", "QuantizeLinear"})
# Types of what stands for numbers; wider integers are shapes and indices.
_CODES = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16)
# What needs codes to be integers, which they are not where a gradient passes through them.
_OF_INTEGERS = frozenset(
    {
        "Add",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Div",
        "Mod",
        "Mul",
        "Pow",
        "Resize",
        "ScatterElements",
        "ScatterND",
        "Sub",
    }
)
_FLAT_DOMAINS = frozenset({"", "com.microsoft"})
# Integers that are values; everywhere else an input of integers only is a shape or an index.
_INTEGERS_ARE_VALUES = frozenset(
    {
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "ConvInteger",
        "DequantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
    }
)
# Inputs of any type that only say where or of what type.
_SELECTING = {"CastLike": frozenset({1}), "OneHot": frozenset({0, 1})}


def is_flat(node: ir.Node, attributes: Mapping[str, ir.Attr]) -> bool:
    """Whether values flow on, but the gradient ends: rounding, integers in place of floats."""
    if domain_of(node) not in _FLAT_DOMAINS:
        return False
    if node.op_type in _FLAT:
        return True
    if node.op_type in _STRAIGHT:
        return not _is_straight(node, attributes)
    source = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
    if node.op_type in _OF_INTEGERS and any(
        v is not None and v.dtype in _CODES for v in node.inputs
    ):
        return True
    target = _cast_target(node, attributes)
    # To truth values is a comparison with zero, and between wide integers nothing is rounded.
    integer = target is not None and target.is_integer() and target != ir.DataType.BOOL
    return integer and (source is None or source.is_floating_point() or source in _CODES)


def _is_straight(node: ir.Node, attributes: Mapping[str, ir.Attr]) -> bool:
    """Whether a quantizer is ONNX's own, and of codes that the torch function knows."""
    if domain_of(node) or attributes.get("precision"):
        return False
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    stated = attributes.get("output_dtype")
    kind = zero.dtype if zero is not None else stated and ir.DataType(stated.as_int())
    return kind is None or kind in (*_CODES, ir.DataType.INT32)


def passes_gradient(node: ir.Node, attributes: Mapping[str, ir.Attr], setting: Setting) -> bool:
    """False where outputs are no differentiable function of the inputs by nature: indices,
    shapes, comparisons. Where a gradient should pass but ends, see :func:`is_flat`, it is True.
    """
    if is_flat(node, attributes) or node.op_type in _STRAIGHT:
        return True
    spec = lookup(domain_of(node), node.op_type, setting.opset(domain_of(node)))
    if spec is not None and not spec.gradient:
        return False
    target = _cast_target(node, attributes)
    if target is not None:
        return target.is_floating_point()
    declared = [v.dtype for v in node.outputs if v.dtype is not None]
    return not declared or any(kind in _CODES or _is_number(kind) for kind in declared)


def _is_number(dtype: ir.DataType) -> bool:
    kind = torch_dtype_of(dtype)
    return kind is None or kind.is_floating_point


def selecting(node: ir.Node, setting: Setting) -> frozenset[int]:
    """Positions of the inputs that only say where, how many or whether: shapes, axes, indices,
    conditions.
    """
    domain = domain_of(node)
    opset = setting.opset(domain)
    spec = lookup(domain, node.op_type, opset)
    found = set(spec.host if spec is not None else ())
    if domain == "":
        found |= _SELECTING.get(node.op_type, frozenset())
    schema = schema_of(domain, node.op_type, opset)
    if schema is not None and node.op_type not in _INTEGERS_ARE_VALUES:
        found |= {k for k, formal in enumerate(schema.inputs) if formal.types <= _WHOLE}
    return frozenset(found)


_WHOLE = frozenset(
    {"tensor(bool)"}
    | {f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def _cast_target(node: ir.Node, attributes: Mapping[str, ir.Attr]) -> ir.DataType | None:
    """Element type of what a cast returns, None for other nodes or where nothing declares it."""
    if node.op_type == "Cast" and "to" in attributes:
        return ir.DataType(attributes["to"].as_int())
    if node.op_type == "CastLike" and len(node.inputs) > 1 and node.inputs[1] is not None:
        return node.inputs[1].dtype
    return None
