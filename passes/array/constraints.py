"""Which operators can go on the array, and what must hold of each.

Constraints are functions: :mod:`pimc.passes.lower.needs` says how they read. Those of operators
that become Conv, Gemm and MatMul stand beside what lowers them.
"""

from __future__ import annotations

import onnx_ir as ir

from pimc.passes.graph.constants import constant_tensor
from pimc.passes.lower.blockwise import constant_blocks
from pimc.passes.lower.emitter import SOURCE_OP
from pimc.passes.lower.lowering import LOWERINGS
from pimc.passes.lower.needs import (
    WEIGHTED,
    Constraint,
    constant_weight,
    constant_weights,
    data_operand,
    operand,
    says,
    spatial_1d_to_3d,
    weight_index,
    weight_rank,
    weight_shape,
)

_AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def consistent_kernel(node: ir.Node) -> bool:
    """kernel_shape, strides, dilations and pads agree with the weight's shape.

    correct the attributes: one entry a spatial dimension, two for pads
    """
    kernel = weight_shape(node)[2:]
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
    return group >= 1 and weight_shape(node)[0] % group == 0


def constant_bias(node: ir.Node) -> bool:
    """The bias is a constant with one element an output channel.

    export the model with its biases as initializers
    """
    bias = operand(node, 2)
    tensor = constant_tensor(bias)
    if bias is None:
        return True
    return tensor is not None and tensor.size == weight_shape(node)[0]


def rank_2_weight(node: ir.Node) -> bool:
    """The weight has two dimensions.

    reshape the weight to (inputs, outputs) where its leading dimensions are one
    """
    return weight_rank(node) == 2


def known_axes(node: ir.Node) -> bool:
    """A constant that is no matrix on the right meets an input of known rank, and dimensions in
    front of its matrix are one or as long as the input's.

    export the model with static shapes, or with the constant as second operand
    """
    shape, data = weight_shape(node), operand(node, 0)
    if weight_index(node) != 1 or len(shape) < 2:
        return False
    # An input of lower rank would get the ones as dimensions of its own.
    room = 0 if data is None or data.shape is None else len(data.shape)
    return len(shape) == 2 or (len(shape) <= room and set(shape[:-2]) == {1})


#: Ops that a layer can be made of, and what must hold of each, in the order of checking.
_LAYER_OPS: dict[str, tuple[Constraint, ...]] = {
    "Conv": (
        *WEIGHTED,
        spatial_1d_to_3d,
        consistent_kernel,
        sane_window,
        known_auto_pad,
        whole_groups,
        constant_bias,
    ),
    "Gemm": (*WEIGHTED, rank_2_weight),
    "MatMul": (*WEIGHTED, known_axes),
}
LAYER_OPS = frozenset(_LAYER_OPS)


def _name(domain: str, op: str) -> str:
    return f"{domain}::{op}" if domain else op


#: Ops that hold weights for the array and what must hold of each, in the order of checking.
#: All but :data:`LAYER_OPS` become these first (:mod:`pimc.passes.lower`), so that of a node of
#: another op that is still there something is broken.
ARRAY_OPS: dict[str, tuple[Constraint, ...]] = dict(
    sorted(
        {
            **{_name(*key): row.needs for key, row in LOWERINGS.items() if row.needs},
            **_LAYER_OPS,
        }.items()
    )
)
#: Constraints that only a node without weights of its own breaks.
UNWEIGHTED: tuple[Constraint, ...] = (
    constant_weight,
    constant_weights,
    constant_blocks,
    data_operand,
)
#: Ops that hold weights and still stay digital, with what would put them on the array.
DIGITAL_WEIGHTED_OPS: dict[str, str] = {
    "DeformConv": "use Conv instead",
    "com.microsoft::MatMulBnb4": "quantize with MatMulNBits instead",
    "com.microsoft::MoE": "export the experts as products",
    "com.microsoft::NhwcFusedConv": "save the model before ONNX Runtime's optimizer fuses it",
    "com.microsoft::QMoE": "export the experts as products",
}


def identifier(node: ir.Node) -> str:
    """The op of ``node``, with its domain where that is not ONNX's."""
    return _name(node.domain, node.op_type)


def broken(node: ir.Node) -> Constraint | None:
    """The first constraint that ``node``, one of ARRAY_OPS, breaks; None if it fits."""
    return next((check for check in ARRAY_OPS[identifier(node)] if not check(node)), None)


def conditions(op: str) -> tuple[str, ...]:
    """All that must hold of a node of ``op``, one of ARRAY_OPS."""
    return tuple(says(check) for check in ARRAY_OPS[op])


def is_array_op(node: ir.Node) -> bool:
    """Whether ``node`` is of an op that can go on the array at all.

    What lowering left beside the layers is not, though it may be of such an op.
    """
    left_over = SOURCE_OP in node.metadata_props and node.op_type not in LAYER_OPS
    return identifier(node) in ARRAY_OPS and not left_over
