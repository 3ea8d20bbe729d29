"""What can go on the array, and why not: one function a constraint.

The first paragraph of a constraint's docstring says what must hold; the second says how to
mend a model where it does not. ``pimc check`` prints them and ``pimc ops`` lists them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import onnx_ir as ir

from pimc.passes.graph.constants import constant_tensor, is_constant, is_float
from pimc.passes.lower import attention, blockwise, fused, gates, quantized, recurrent
from pimc.passes.lower.emitter import SOURCE_OP
from pimc.passes.lower.products import einsum_product

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


def constant_weight(node: ir.Node) -> bool:
    """The weight is a constant.

    export the model with its weights as initializers; products of two activations stay digital
    """
    return is_constant(_weight(node))


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
    tensor = constant_tensor(_weight(node))
    return tensor is not None and is_float(tensor.dtype)


def nonempty_weight(node: ir.Node) -> bool:
    """The weight has at least one element.

    remove the layer: its output does not depend on its input
    """
    tensor = constant_tensor(_weight(node))
    return tensor is not None and tensor.size > 0


def data_operand(node: ir.Node) -> bool:
    """The other operand is an activation.

    fold the product of two constants before exporting
    """
    value = _operand(node, 0)
    return value is not None and not (is_constant(value) and is_constant(_operand(node, 1)))


def spatial_1d_to_3d(node: ir.Node) -> bool:
    """The convolution has one to three spatial dimensions.

    split further dimensions off before exporting
    """
    return _weight_rank(node) in (3, 4, 5)


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


def whole_input_groups(node: ir.Node) -> bool:
    """The number of input channels is a multiple of group.

    correct the group attribute
    """
    group = node.attributes.get_int("group", 1)
    return group >= 1 and _weight_shape(node)[0] % group == 0


def rank_2_weight(node: ir.Node) -> bool:
    """The weight has two dimensions.

    reshape the weight to (inputs, outputs) where its leading dimensions are one
    """
    return _weight_rank(node) == 2


def known_axes(node: ir.Node) -> bool:
    """A constant that is no matrix on the right meets an input of known rank, and dimensions in
    front of its matrix are one or as long as the input's.

    export the model with static shapes, or with the constant as second operand
    """
    shape, data = _weight_shape(node), _operand(node, 0)
    if _weight_index(node) != 1 or len(shape) < 2:
        return False
    # An input of lower rank would get the ones as dimensions of its own.
    room = 0 if data is None or data.shape is None else len(data.shape)
    return len(shape) == 2 or (len(shape) <= room and set(shape[:-2]) == {1})


def einsum_of_two(node: ir.Node) -> bool:
    """It multiplies one activation by one constant, names all axes and sums over at least one
    that both have.

    write the product as MatMul
    """
    return einsum_product(node) is not None


def constant_peepholes(node: ir.Node) -> bool:
    """Peepholes are constants.

    export without them, or unroll the recurrence into MatMul
    """
    return recurrent.constant_peepholes(node)


def known_activations(node: ir.Node) -> bool:
    """Its activations have no parameters: Sigmoid, Tanh, Relu, Softsign or Softplus.

    use other activations, or unroll the recurrence into MatMul
    """
    shape = _weight_shape(node)
    return bool(shape) and gates.gate_activations(node, shape[0]) is not None


def scalar_scales(node: ir.Node) -> bool:
    """The activation has one scale and one zero point, of known shape, if any; those of the
    weight, and a bias, are constants of one dimension at most.

    quantize activations per tensor
    """
    return quantized.per_tensor(node)


def known_fusion(node: ir.Node) -> bool:
    """Its activation is Relu, LeakyRelu, Tanh, Sigmoid, HardSigmoid or Clip, if any.

    save the model before ONNX Runtime's optimizer fuses it
    """
    return fused.known_activation(node)


def turned_matrices(node: ir.Node) -> bool:
    """It transposes matrices only, of operands of known rank.

    save the model before ONNX Runtime's optimizer fuses it
    """
    return fused.known_ranks(node)


def plain_attention(node: ir.Node) -> bool:
    """No rotary embedding, no buffer that past and present share, and a mask of (batch, keys) if
    any.

    export attention as separate operators
    """
    return attention.plain(node)


def constant_blocks(node: ir.Node) -> bool:
    """Codes, scales and zero points are constants.

    export the model with its weights as initializers
    """
    return blockwise.constant_blocks(node)


def ordered_blocks(node: ir.Node) -> bool:
    """Codes have 2, 4 or 8 bits, and no indices say which block a row belongs to.

    quantize without reordering rows
    """
    return blockwise.ordered_blocks(node)


_WEIGHTED: tuple[Constraint, ...] = (
    constant_weight,
    data_operand,
    float_weight,
    nonempty_weight,
)
_RECURRENT: tuple[Constraint, ...] = (constant_weights, constant_peepholes, known_activations)
_QUANTIZED: tuple[Constraint, ...] = (constant_weight, nonempty_weight, scalar_scales)

#: Ops that hold weights for the array and what must hold of each, in the order of checking.
#: All but Conv, Gemm and MatMul become these three first (:mod:`pimc.passes.lower`), so that of
#: a node of another op that is still there something is broken.
ARRAY_OPS: dict[str, tuple[Constraint, ...]] = {
    "Conv": (
        *_WEIGHTED,
        spatial_1d_to_3d,
        consistent_kernel,
        sane_window,
        known_auto_pad,
        whole_groups,
        constant_bias,
    ),
    "ConvInteger": _QUANTIZED,
    "ConvTranspose": (*_WEIGHTED, spatial_1d_to_3d, whole_input_groups),
    "Einsum": (einsum_of_two,),
    "GRU": _RECURRENT,
    "Gemm": (*_WEIGHTED, rank_2_weight),
    "LSTM": _RECURRENT,
    "MatMul": (*_WEIGHTED, known_axes),
    "MatMulInteger": _QUANTIZED,
    "QLinearConv": _QUANTIZED,
    "QLinearMatMul": _QUANTIZED,
    "RNN": _RECURRENT,
    "com.microsoft::Attention": (constant_weight, plain_attention),
    "com.microsoft::DynamicQuantizeLSTM": (constant_weights,),
    "com.microsoft::DynamicQuantizeMatMul": _QUANTIZED,
    "com.microsoft::FusedConv": (constant_weight, known_fusion),
    "com.microsoft::FusedGemm": (constant_weight, known_fusion),
    "com.microsoft::FusedMatMul": (constant_weight, turned_matrices),
    "com.microsoft::MatMulIntegerToFloat": _QUANTIZED,
    "com.microsoft::MatMulNBits": (constant_blocks, ordered_blocks),
    "com.microsoft::QAttention": (*_QUANTIZED, plain_attention),
    "com.microsoft::QGemm": _QUANTIZED,
}
#: Constraints that only a node without weights of its own breaks.
UNWEIGHTED: tuple[Constraint, ...] = (
    constant_weight,
    constant_weights,
    constant_blocks,
    data_operand,
)
#: Ops that a layer can be made of.
LAYER_OPS = frozenset({"Conv", "Gemm", "MatMul"})

#: Ops whose weight may be either of two operands.
_EITHER_OPERAND = frozenset({"FusedGemm", "FusedMatMul", "Gemm", "MatMul"})
#: Which operand is the weight, where it is not the second.
_WEIGHT_OPERANDS = {"QGemm": 3, "QLinearConv": 3, "QLinearMatMul": 3}

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
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def broken(node: ir.Node) -> Constraint | None:
    """The first constraint that ``node``, one of ARRAY_OPS, breaks; None if it fits."""
    return next((check for check in ARRAY_OPS[identifier(node)] if not check(node)), None)


def needs(op: str) -> tuple[str, ...]:
    """All that must hold of a node of ``op``, one of ARRAY_OPS."""
    return tuple(says(check) for check in ARRAY_OPS[op])


def is_array_op(node: ir.Node) -> bool:
    """Whether ``node`` is of an op that can go on the array at all.

    What lowering left beside the layers is not, though it may be of such an op.
    """
    left_over = SOURCE_OP in node.metadata_props and node.op_type not in LAYER_OPS
    return identifier(node) in ARRAY_OPS and not left_over


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _weight_index(node: ir.Node) -> int:
    """Which operand is the weight; of a product the constant one."""
    if node.op_type in _EITHER_OPERAND and not is_constant(_operand(node, 1)):
        return 0 if is_constant(_operand(node, 0)) else 1
    return _WEIGHT_OPERANDS.get(node.op_type, 1)


def _weight(node: ir.Node) -> ir.Value | None:
    return _operand(node, _weight_index(node))


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    tensor = constant_tensor(_weight(node))
    return () if tensor is None else tuple(int(dim) for dim in tensor.shape.numpy())


def _weight_rank(node: ir.Node) -> int:
    return len(_weight_shape(node))
