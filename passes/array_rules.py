"""What can go on the array, and why not: one function a constraint.

The first paragraph of a constraint's docstring says what must hold; the second says how to
mend a model where it does not. ``pimc check`` prints them and ``pimc ops`` lists them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import onnx_ir as ir

from pimc.passes.constants import constant_tensor, is_constant, is_float
from pimc.plan import DOMAIN

Constraint = Callable[[ir.Node], bool]

_AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


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


def main_graph(node: ir.Node, graph: ir.Graph) -> bool:
    """The node is not inside an If, Loop or Scan body.

    move the layer out of the control flow, or export with the branch taken
    """
    return node.graph is graph


def constant_weight(node: ir.Node) -> bool:
    """The weight, the second operand, is a constant.

    export the model with its weights as initializers; products of two activations stay digital
    """
    return is_constant(_operand(node, 1))


def weight_on_the_right(node: ir.Node) -> bool:
    """The constant is the second operand, not the first.

    a constant on the left is not supported yet: transpose both operands, swap them and
    transpose the product
    """
    return not is_constant(_operand(node, 0)) or is_constant(_operand(node, 1))


def float_weight(node: ir.Node) -> bool:
    """The weight is floating point (float32, float16, bfloat16 or double).

    export the float model: pimc quantizes it itself
    """
    tensor = constant_tensor(_operand(node, 1))
    return tensor is not None and is_float(tensor.dtype)


def nonempty_weight(node: ir.Node) -> bool:
    """The weight has at least one element.

    remove the layer: its output does not depend on its input
    """
    tensor = constant_tensor(_operand(node, 1))
    return tensor is not None and tensor.size > 0


def data_operand(node: ir.Node) -> bool:
    """The first operand is an activation.

    fold the product of two constants before exporting
    """
    value = _operand(node, 0)
    return value is not None and not is_constant(value)


def spatial_1d_or_2d(node: ir.Node) -> bool:
    """The convolution has one or two spatial dimensions.

    rewrite a 3-D convolution as a sum of 2-D ones
    """
    return _weight_rank(node) in (3, 4)


def consistent_kernel(node: ir.Node) -> bool:
    """kernel_shape, strides, dilations and pads agree with the weight's shape.

    correct the attributes: one entry a spatial dimension, two for pads
    """
    kernel = _weight_shape(node)[2:]
    expected = {"strides": len(kernel), "dilations": len(kernel), "pads": 2 * len(kernel)}
    lengths = all(
        len(node.attributes.get_ints(name, (0,) * count)) == count
        for name, count in expected.items()
    )
    return lengths and tuple(node.attributes.get_ints("kernel_shape", kernel)) == kernel


def sane_window(node: ir.Node) -> bool:
    """Strides and dilations are at least one and pads are not negative.

    crop with a Slice before the convolution instead of negative pads
    """
    attributes = node.attributes
    steps = (*attributes.get_ints("strides", ()), *attributes.get_ints("dilations", ()))
    return min(steps, default=1) >= 1 and min(attributes.get_ints("pads", ()), default=0) >= 0


def known_auto_pad(node: ir.Node) -> bool:
    """auto_pad is one of NOTSET, SAME_UPPER, SAME_LOWER and VALID.

    state explicit pads
    """
    return node.attributes.get_string("auto_pad", "NOTSET") in _AUTO_PADS


def whole_groups(node: ir.Node) -> bool:
    """The number of output channels is a multiple of group.

    correct the group attribute
    """
    group = node.attributes.get_int("group", 1)
    return group >= 1 and _weight_shape(node)[0] % group == 0


def constant_bias(node: ir.Node) -> bool:
    """The bias is a constant with one element an output channel.

    export the model with its biases as initializers
    """
    bias = _operand(node, 2)
    tensor = constant_tensor(bias)
    if bias is None:
        return True
    return tensor is not None and tensor.size == _weight_shape(node)[0]


def rank_2_weight(node: ir.Node) -> bool:
    """The weight has two dimensions.

    reshape the weight to (inputs, outputs) where its leading dimensions are one
    """
    return _weight_rank(node) == 2


def matrix_weight(node: ir.Node) -> bool:
    """The weight has two dimensions, or ones before them and no more than the input has.

    reshape the weight to (inputs, outputs) where its leading dimensions are one
    """
    shape = _weight_shape(node)
    if len(shape) <= 2:
        return len(shape) == 2
    data = _operand(node, 0)
    # An input of lower rank would get the ones as dimensions of its own.
    room = 0 if data is None or data.shape is None else len(data.shape)
    return len(shape) <= room and set(shape[:-2]) == {1}


def untransposed_input(node: ir.Node) -> bool:
    """The input is not transposed: transA is 0.

    transpose the input before the Gemm
    """
    return node.attributes.get_int("transA", 0) == 0


_WEIGHTED: tuple[Constraint, ...] = (
    constant_weight,
    data_operand,
    float_weight,
    nonempty_weight,
)

#: Ops that can go on the array and what must hold of each beside ``main_graph``, in the
#: order of checking.
ARRAY_OPS: dict[str, tuple[Constraint, ...]] = {
    "Conv": (
        *_WEIGHTED,
        spatial_1d_or_2d,
        consistent_kernel,
        sane_window,
        known_auto_pad,
        whole_groups,
        constant_bias,
    ),
    "Gemm": (weight_on_the_right, *_WEIGHTED, rank_2_weight, untransposed_input),
    "MatMul": (weight_on_the_right, *_WEIGHTED, matrix_weight),
}

#: Ops that hold weights and still stay digital, with what would put them on the array.
DIGITAL_WEIGHTED_OPS: dict[str, str] = {
    "ConvInteger": "export the float model: pimc quantizes it itself",
    "ConvTranspose": "use Resize and Conv instead",
    "DeformConv": "use Conv instead",
    "Einsum": "write the product as MatMul",
    "GRU": "unroll the recurrence into MatMul at export",
    "LSTM": "unroll the recurrence into MatMul at export",
    "MatMulInteger": "export the float model: pimc quantizes it itself",
    "QLinearConv": "export the float model: pimc quantizes it itself",
    "QLinearMatMul": "export the float model: pimc quantizes it itself",
    "RNN": "unroll the recurrence into MatMul at export",
}


def broken(node: ir.Node, graph: ir.Graph) -> tuple[str, str] | None:
    """What ``node``, one of ARRAY_OPS, lacks and its fix; None if it fits.

    ``graph`` is the model's main graph.
    """
    if not main_graph(node, graph):
        return says(main_graph), fix(main_graph)
    for check in ARRAY_OPS[node.op_type]:
        if not check(node):
            return says(check), fix(check)
    return None


def needs(op: str) -> tuple[str, ...]:
    """All that must hold of a node of ``op``, one of ARRAY_OPS."""
    return (says(main_graph), *(says(check) for check in ARRAY_OPS[op]))


def is_array_op(node: ir.Node) -> bool:
    """Whether ``node`` is of an op that can go on the array at all."""
    return not node.domain and node.op_type in ARRAY_OPS


def is_array_node(node: ir.Node) -> bool:
    """Whether ``node`` already stands for a layer on the array."""
    return node.domain == DOMAIN


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    tensor = constant_tensor(_operand(node, 1))
    return () if tensor is None else tuple(int(dim) for dim in tensor.shape.numpy())


def _weight_rank(node: ir.Node) -> int:
    return len(_weight_shape(node))
