"""Lower: operators that hold weights as Conv, Gemm and MatMul, and digital operators around."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from pimc.passes.graph.constants import names_in_use
from pimc.passes.lower.attention import lower_attention, plain_attention
from pimc.passes.lower.blockwise import constant_blocks, lower_matmul_nbits, ordered_blocks
from pimc.passes.lower.codes import CODE_OPS, split_codes
from pimc.passes.lower.emitter import SOURCE_OP, Emitter, finish
from pimc.passes.lower.fused import (
    known_fusion,
    split_conv,
    split_gemm,
    split_matmul,
    turned_matrices,
)
from pimc.passes.lower.needs import (
    WEIGHTED,
    Constraint,
    constant_weight,
    constant_weights,
    nonempty_weight,
    spatial_1d_to_3d,
)
from pimc.passes.lower.products import einsum_of_two, lower_einsum, lower_gemm, lower_matmul
from pimc.passes.lower.quantized import (
    lower_integer,
    lower_qlinear,
    scalar_scales,
    split_dynamic,
    split_dynamic_lstm,
    split_qattention,
    split_qgemm,
    split_to_float,
)
from pimc.passes.lower.recurrent import constant_peepholes, known_activations, lower_recurrent
from pimc.passes.lower.transposed_conv import lower_conv_transpose, whole_input_groups
from pimc.plan.records import Plan

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["LOWERINGS", "Family", "Lower"]


@dataclass(frozen=True)
class Family:
    """How the operators of one kind are lowered.

    Attributes:
        lower: what stands for the outputs of a node; None where the node stays as it is.
        needs: what must hold of a node for its weights to go on the array, in the order of
            checking; none of operators without weights, and of those that layers are made of.
    """

    lower: Callable[[ir.Node, Emitter], Sequence[ir.Value | None] | None]
    needs: tuple[Constraint, ...] = ()


_RECURRENT = Family(lower_recurrent, (constant_weights, constant_peepholes, known_activations))
_CODES = (constant_weight, nonempty_weight, scalar_scales)
_INTEGER, _QLINEAR = Family(lower_integer, _CODES), Family(lower_qlinear, _CODES)

#: By domain and operator; what comes of one may be lowered in turn.
LOWERINGS: Mapping[tuple[str, str], Family] = {
    ("", "ConvInteger"): _INTEGER,
    ("", "ConvTranspose"): Family(
        lower_conv_transpose, (*WEIGHTED, spatial_1d_to_3d, whole_input_groups)
    ),
    ("", "Einsum"): Family(lower_einsum, (einsum_of_two,)),
    ("", "GRU"): _RECURRENT,
    ("", "Gemm"): Family(lower_gemm),
    ("", "LSTM"): _RECURRENT,
    ("", "MatMul"): Family(lower_matmul),
    ("", "MatMulInteger"): _INTEGER,
    ("", "QLinearConv"): _QLINEAR,
    ("", "QLinearMatMul"): _QLINEAR,
    ("", "RNN"): _RECURRENT,
    ("com.microsoft", "Attention"): Family(lower_attention, (constant_weight, plain_attention)),
    ("com.microsoft", "DynamicQuantizeLSTM"): Family(split_dynamic_lstm, (constant_weights,)),
    ("com.microsoft", "DynamicQuantizeMatMul"): Family(split_dynamic, _CODES),
    ("com.microsoft", "FusedConv"): Family(split_conv, (constant_weight, known_fusion)),
    ("com.microsoft", "FusedGemm"): Family(split_gemm, (constant_weight, known_fusion)),
    ("com.microsoft", "FusedMatMul"): Family(split_matmul, (constant_weight, turned_matrices)),
    ("com.microsoft", "MatMulIntegerToFloat"): Family(split_to_float, _CODES),
    ("com.microsoft", "MatMulNBits"): Family(lower_matmul_nbits, (constant_blocks, ordered_blocks)),
    ("com.microsoft", "QAttention"): Family(split_qattention, (*_CODES, plain_attention)),
    ("com.microsoft", "QGemm"): Family(split_qgemm, _CODES),
    **{("com.microsoft", op): Family(split_codes) for op in CODE_OPS},
}


@dataclass(frozen=True)
class Lower:
    """Replace operators that hold weights by Conv, Gemm and MatMul with digital ones around.

    What a row of :data:`LOWERINGS` declines stays as it is, and digital. Bodies of control
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
    family = LOWERINGS.get((node.domain, node.op_type))
    # What an operator was lowered to may hold one of its kind.
    if family is None or node.metadata_props.get(SOURCE_OP) == node.op_type:
        return None
    values = family.lower(node, emit)
    if values is None:
        return None
    emit.replace(values)
    return emit
