"""Which values of a graph can be proved not to be below zero.

A die reads unsigned inputs with one more bit of resolution than signed ones, so it pays to
know. The proof is a table: one rule an op, applied in the order of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Set

import onnx_ir as ir

from pimc.passes.graph.constants import FLOAT_TYPES, constant_array, constant_tensor

Known = Set[ir.Value]
SignRule = Callable[[ir.Node, Known], bool]

#: Larger constants are not searched for negative entries.
_CONSTANT_LIMIT = 1 << 20
_UNSIGNED = (
    ir.DataType.BOOL,
    ir.DataType.UINT8,
    ir.DataType.UINT16,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
)


def nonnegative_values(graph: ir.Graph) -> frozenset[ir.Value]:
    """Values of ``graph`` that are at least zero (or NaN) whatever the input is."""
    known: set[ir.Value] = {v for v in graph.initializers.values() if _constant_is(v)}
    known.update(value for value in graph.inputs if value.dtype in _UNSIGNED)
    for node in graph:
        rule = RULES.get(node.op_type) if not node.domain else None
        if rule is not None and rule(node, known):
            known.update(node.outputs)
        known.update(value for value in node.outputs if value.dtype in _UNSIGNED)
    return frozenset(known)


def _constant_is(value: ir.Value) -> bool:
    tensor = constant_tensor(value)
    if tensor is None or not 0 < tensor.size <= _CONSTANT_LIMIT:
        return False
    array = tensor.numpy()
    return array.dtype.kind in "fiub" and bool((array >= 0).all())


def _always(node: ir.Node, known: Known) -> bool:
    """Its result is never below zero"""
    return True


def _first(node: ir.Node, known: Known) -> bool:
    """Its first input is not below zero"""
    return bool(node.inputs) and node.inputs[0] in known


def _all(node: ir.Node, known: Known) -> bool:
    """No input is below zero"""
    return bool(node.inputs) and all(value in known for value in node.inputs)


def _any(node: ir.Node, known: Known) -> bool:
    """One input is not below zero"""
    return any(value in known for value in node.inputs)


def _product(node: ir.Node, known: Known) -> bool:
    """No input is below zero, or both are the same"""
    return node.inputs[0] is node.inputs[1] or _all(node, known)


def _clip(node: ir.Node, known: Known) -> bool:
    """Its lower limit is not below zero, or its input and upper limit are not"""
    low, high = (node.inputs[i] if len(node.inputs) > i else None for i in (1, 2))
    if low in known:
        return True
    return node.inputs[0] in known and (high is None or high in known)


def _pad(node: ir.Node, known: Known) -> bool:
    """Its input and the value it pads with are not below zero"""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    constant = node.attributes.get_string("mode", "constant") == "constant"
    return _first(node, known) and (not constant or value is None or value in known)


def _branches(node: ir.Node, known: Known) -> bool:
    """Both of its branches are not below zero"""
    return node.inputs[1] in known and node.inputs[2] in known


def _resize(node: ir.Node, known: Known) -> bool:
    """Its input is not below zero and it interpolates by nearest neighbour or linearly"""
    mode = node.attributes.get_string("mode", "nearest")
    extrapolates = (
        node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
        and node.attributes.get_float("extrapolation_value", 0.0) < 0
    )
    return _first(node, known) and mode in ("nearest", "linear") and not extrapolates


def _power(node: ir.Node, known: Known) -> bool:
    """Its base is not below zero, or its exponent is an even number"""
    exponent = constant_array(node.inputs[1])
    even = exponent is not None and bool((exponent.astype(float) % 2 == 0).all())
    return even or node.inputs[0] in known


def _cast(node: ir.Node, known: Known) -> bool:
    """Its input is not below zero and it casts to a floating type"""
    return _first(node, known) and node.outputs[0].dtype in FLOAT_TYPES


def _dequantize(node: ir.Node, known: Known) -> bool:
    """Its input is unsigned, its zero point 0 and its scale not below zero"""
    data, scale = node.inputs[:2]
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    no_offset = len(node.inputs) < 3 or (zero is not None and not zero.astype(int).any())
    return data is not None and data.dtype in _UNSIGNED and scale in known and no_offset


def _constant_node(node: ir.Node, known: Known) -> bool:
    """No entry is below zero"""
    return _constant_is(node.outputs[0])


def _rules(rule: SignRule, ops: str) -> dict[str, SignRule]:
    return dict.fromkeys(ops.split(), rule)


RULES: dict[str, SignRule] = {
    **_rules(
        _always,
        "Abs Acos Exp HardSigmoid Hardmax Relu ReduceL1 ReduceL2 ReduceSumSquare Shape Sigmoid "
        "Size Softmax Softplus Sqrt GlobalLpPool LpPool NonZero ArgMax ArgMin",
    ),
    **_rules(
        _first,
        "Asinh Atan AveragePool Ceil Celu CumSum DepthToSpace Dropout Elu Erf "
        "Expand Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool "
        "GlobalMaxPool HardSwish Identity LRN LeakyRelu LpNormalization MaxPool Mish PRelu "
        "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Round "
        "Sign Sinh Slice Softsign SpaceToDepth Split Squeeze Swish Tanh ThresholdedRelu "
        "Tile TopK Transpose Trilu Unsqueeze",
    ),
    **_rules(_all, "Add Concat Div Mean Min Mod Sum"),
    **_rules(_any, "Max"),
    **_rules(_product, "Mul"),
    **_rules(_branches, "Where"),
    "Cast": _cast,
    "Clip": _clip,
    "Constant": _constant_node,
    "DequantizeLinear": _dequantize,
    "Pad": _pad,
    "Pow": _power,
    "Resize": _resize,
}


def rules_markdown() -> str:
    """The rules as a Markdown table, for the documentation."""
    ops: dict[str, list[str]] = {}
    for op, rule in RULES.items():
        ops.setdefault((rule.__doc__ or "").lower(), []).append(op)
    lines = ["| not below zero if | operators |", "|---|---|"]
    lines += [f"| {reason} | {', '.join(sorted(names))} |" for reason, names in ops.items()]
    return "\n".join(lines) + "\n"
