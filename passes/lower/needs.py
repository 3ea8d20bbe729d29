"""What must hold of a node for its weights to go on the array: one function a constraint.

The first paragraph of a constraint's docstring says what must hold; the second says how to
mend a model where it does not. ``pimc check`` prints them and ``pimc ops`` lists them. What
only operators of one family need stands beside its lowering.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import onnx_ir as ir

from pimc.passes.graph.constants import constant_tensor, is_constant, is_float

__all__ = [
    "WEIGHTED",
    "Constraint",
    "constant_weight",
    "constant_weights",
    "data_operand",
    "fix",
    "float_weight",
    "nonempty_weight",
    "operand",
    "says",
    "spatial_1d_to_3d",
    "weight_index",
    "weight_of",
    "weight_rank",
    "weight_shape",
]

Constraint = Callable[[ir.Node], bool]

#: Ops whose weight may be either of two operands.
_EITHER_OPERAND = frozenset({"FusedGemm", "FusedMatMul", "Gemm", "MatMul"})
#: Which operand is the weight, where it is not the second.
_WEIGHT_OPERANDS = {"QGemm": 3, "QLinearConv": 3, "QLinearMatMul": 3}


def says(constraint: Callable[..., bool]) -> str:
    """What must hold: first paragraph of the docstring, on one line, as part of a sentence."""
    text = _paragraph(constraint, 0).removesuffix(".")
    return text[0].lower() + text[1:]


def fix(constraint: Callable[..., bool]) -> str:
    """How to mend the model: second paragraph of the docstring."""
    return _paragraph(constraint, 1)


def _paragraph(constraint: Callable[..., bool], index: int) -> str:
    paragraphs = inspect.cleandoc(constraint.__doc__ or "").split("\n\n")
    return " ".join(paragraphs[index].split())


def constant_weight(node: ir.Node) -> bool:
    """The weight is a constant.

    export the model with its weights as initializers; products of two activations stay digital
    """
    return is_constant(weight_of(node))


def constant_weights(node: ir.Node) -> bool:
    """Weights and biases are constants.

    export the model with its weights as initializers
    """
    given = [value for value in node.inputs[1:4] if value is not None]
    return len(given) >= 2 and all(is_constant(value) for value in given)


def float_weight(node: ir.Node) -> bool:
    """The weight is floating point (float32, float16, bfloat16 or double).

    export the float model: pimc quantizes it itself
    """
    tensor = constant_tensor(weight_of(node))
    return tensor is not None and is_float(tensor.dtype)


def nonempty_weight(node: ir.Node) -> bool:
    """The weight has at least one element.

    remove the layer: its output does not depend on its input
    """
    tensor = constant_tensor(weight_of(node))
    return tensor is not None and tensor.size > 0


def data_operand(node: ir.Node) -> bool:
    """The other operand is an activation.

    fold the product of two constants before exporting
    """
    value = operand(node, 0)
    return value is not None and not (is_constant(value) and is_constant(operand(node, 1)))


def spatial_1d_to_3d(node: ir.Node) -> bool:
    """The convolution has one to three spatial dimensions.

    split further dimensions off before exporting
    """
    return weight_rank(node) in (3, 4, 5)


#: What holds of every float weight.
WEIGHTED: tuple[Constraint, ...] = (
    constant_weight,
    data_operand,
    float_weight,
    nonempty_weight,
)


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """An operand, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def weight_index(node: ir.Node) -> int:
    """Which operand is the weight; of a product the constant one."""
    if node.op_type in _EITHER_OPERAND and not is_constant(operand(node, 1)):
        return 0 if is_constant(operand(node, 0)) else 1
    return _WEIGHT_OPERANDS.get(node.op_type, 1)


def weight_of(node: ir.Node) -> ir.Value | None:
    """The operand that is the weight."""
    return operand(node, weight_index(node))


def weight_shape(node: ir.Node) -> tuple[int, ...]:
    """Shape of the weight, () where it is no constant."""
    tensor = constant_tensor(weight_of(node))
    return () if tensor is None else tuple(int(dim) for dim in tensor.shape.numpy())


def weight_rank(node: ir.Node) -> int:
    """Dimensions of the weight, 0 where it is no constant."""
    return len(weight_shape(node))
