"""Lower: operators that hold weights as Conv, Gemm and MatMul, and digital operators around."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from pimc.passes.graph.constants import names_in_use
from pimc.passes.lower.attention import lower_attention
from pimc.passes.lower.blockwise import lower_matmul_nbits
from pimc.passes.lower.codes import CODE_OPS, split_codes
from pimc.passes.lower.emitter import SOURCE_OP, Emitter, finish
from pimc.passes.lower.fused import split_conv, split_gemm, split_matmul
from pimc.passes.lower.products import (
    einsum_product,
    gemm_product,
    lower_product,
    matmul_product,
)
from pimc.passes.lower.quantized import (
    lower_integer,
    lower_qlinear,
    split_dynamic,
    split_dynamic_lstm,
    split_qattention,
    split_qgemm,
    split_to_float,
)
from pimc.passes.lower.recurrent import lower_recurrent
from pimc.passes.lower.transposed_conv import lower_conv_transpose
from pimc.plan.records import Plan

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["LOWERINGS", "Lower"]

#: What stands for the outputs of a node; None where the node stays as it is.
Lowering = Callable[[ir.Node, Emitter], Sequence[ir.Value | None] | None]


def _matmul(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """A constant on the left, a vector, or a matrix of its own for every group."""
    product = matmul_product(node)
    if product is None or product.plain:
        return None
    return [lower_product(product, emit)]


def _gemm(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """A transposed input, or a constant on the left: alpha · A B + beta · C."""
    product = gemm_product(node)
    if product is None or product.axes.data == "mk":
        return None
    alpha, beta = (node.attributes.get_float(key, 1.0) for key in ("alpha", "beta"))
    y = lower_product(product, emit, alpha)
    if len(node.inputs) > 2 and node.inputs[2] is not None and beta != 0.0:
        added = node.inputs[2]
        if beta != 1.0:
            added = emit.op("Mul", added, emit.constant(product.number(beta)))
        y = emit.op("Add", y, added)
    return [y]


def _einsum(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    product = einsum_product(node)
    return None if product is None else [lower_product(product, emit)]


#: By domain and operator; what comes of one may be lowered in turn.
LOWERINGS: Mapping[tuple[str, str], Lowering] = {
    ("com.microsoft", "DynamicQuantizeLSTM"): split_dynamic_lstm,
    ("com.microsoft", "DynamicQuantizeMatMul"): split_dynamic,
    ("com.microsoft", "FusedConv"): split_conv,
    ("com.microsoft", "FusedGemm"): split_gemm,
    ("com.microsoft", "FusedMatMul"): split_matmul,
    ("com.microsoft", "MatMulIntegerToFloat"): split_to_float,
    ("com.microsoft", "QAttention"): split_qattention,
    ("com.microsoft", "QGemm"): split_qgemm,
    **{("com.microsoft", op): split_codes for op in CODE_OPS},
    ("", "ConvInteger"): lower_integer,
    ("", "ConvTranspose"): lower_conv_transpose,
    ("", "Einsum"): _einsum,
    ("", "GRU"): lower_recurrent,
    ("", "Gemm"): _gemm,
    ("", "LSTM"): lower_recurrent,
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): lower_integer,
    ("", "QLinearConv"): lower_qlinear,
    ("", "QLinearMatMul"): lower_qlinear,
    ("", "RNN"): lower_recurrent,
    ("com.microsoft", "Attention"): lower_attention,
    ("com.microsoft", "MatMulNBits"): lower_matmul_nbits,
}


@dataclass(frozen=True)
class Lower:
    """Replace operators that hold weights by Conv, Gemm and MatMul with digital ones around.

    What a rule of :data:`LOWERINGS` declines stays as it is, and digital. Bodies of control
    flow are looked into.
    """

    name: ClassVar[str] = "lower"

    def __call__(self, plan: Plan, chip: Chip | None = None) -> Plan:
        """Return ``plan`` with a lowered copy of its graph; ``chip`` is not used."""
        model = plan.graph.clone()
        taken, shared = names_in_use(model), dict[Hashable, ir.Value]()
        lowered = True
        while lowered:
            # Shapes behind what was lowered are known then, and may be what others wait for.
            emitters = [
                emit
                for node in list(model.graph.all_nodes())
                if (emit := _lower(node, Emitter(node, model.graph, taken, shared))) is not None
            ]
            finish(model, emitters)
            lowered = bool(emitters)
        return replace(plan, graph=model, stage=self.name)


def _lower(node: ir.Node, emit: Emitter) -> Emitter | None:
    """Replace one node; returns what did it, None where the node stays."""
    rule = LOWERINGS.get((node.domain, node.op_type))
    # What an operator was lowered to may hold one of its kind.
    if rule is None or node.metadata_props.get(SOURCE_OP) == node.op_type:
        return None
    values = rule(node, emit)
    if values is None:
        return None
    emit.replace(values)
    return emit
