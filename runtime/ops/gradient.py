"""Where a gradient ends: what the outputs of a node are made of, and how smoothly."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import torch

from pimc.runtime.ops.functions import domain_of, schema_of
from pimc.runtime.ops.native import Setting
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
# What stands for numbers; wider integers are shapes and indices.
_CODES = frozenset({torch.int8, torch.uint8})
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
    # ONNX Runtime's own operators of these names are executed by it.
    if node.op_type in _FLAT or (node.op_type in _STRAIGHT and domain_of(node)):
        return True
    source = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
    target = _cast_target(node, attributes)
    # To truth values is a comparison with zero, and between integers nothing is rounded.
    integer = target is not None and target.is_integer() and target != ir.DataType.BOOL
    return integer and (source is None or source.is_floating_point())


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
    declared = [torch_dtype_of(v.dtype) for v in node.outputs if v.dtype is not None]
    return not declared or any(
        kind is None or kind.is_floating_point or kind in _CODES for kind in declared
    )


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
