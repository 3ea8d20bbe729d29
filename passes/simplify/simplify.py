"""Fold what is constant, so that every weight stands in the open."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import onnx
import onnx.shape_inference
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript.optimizer import fold_constants_ir, optimize_ir
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

from pimc.errors import PlanError
from pimc.passes.graph.contrib import standard_quantizers
from pimc.passes.graph.malformed import skeleton
from pimc.passes.graph.quiet import quiet
from pimc.passes.simplify.batchnorm import affine_batchnorms, untie_batchnorms
from pimc.passes.simplify.deferred import defer_weights
from pimc.passes.simplify.folding import fold_leftovers
from pimc.passes.simplify.free_batch import free_batch
from pimc.plan.records import Plan

if TYPE_CHECKING:
    from pimc.chip.design import Chip

_log = logging.getLogger(__name__)

_NO_LIMIT = 1 << 62
#: Constants made larger than this by an op that repeats its input stay ops.
_EXPANDED_LIMIT = 1 << 20
#: Ops whose output can be far larger than their inputs.
_EXPANDING = frozenset(
    {"ConstantOfShape", "Expand", "Tile", "Range", "EyeLike", "OneHot", "Resize", "Upsample"}
)
_BATCHNORM_RULES = RewriteRuleSet(
    [
        fuse_batchnorm_into_conv_rule,
        fuse_batchnorm_into_conv_transpose_rule,
        fuse_batchnorm_into_gemm_rule,
    ]
)


@dataclass(frozen=True)
class Simplify:
    """Inline functions, fold constants, fuse batch norms, remove what does nothing.

    A batch norm that follows no layer becomes ``Mul`` and ``Add`` with per-channel
    constants. A batch dimension that the exporter fixed is freed where that can be proved.
    Names of graph inputs and outputs stay. The same model gives the same bytes.
    """

    name: ClassVar[str] = "simplify"

    def __call__(self, plan: Plan, chip: Chip | None = None) -> Plan:
        """Return ``plan`` with a simplified copy of its graph; ``chip`` is not used."""
        model = plan.graph.clone()
        signature = _signature(model)
        node_names = _names_by_weight(model)
        model = _all_at_once(model.clone(), signature) or _step_by_step(model, signature)
        _restore_names(model, node_names)
        if _signature(model) != signature:
            raise PlanError("simplification changed the network's inputs or outputs")
        return replace(plan, graph=model, stage=self.name)


def _inline(model: ir.Model) -> bool:
    return bool(model.functions) and common.InlinePass()(model).modified


def _fold(model: ir.Model) -> bool:
    while True:
        fold_constants_ir(
            model,
            onnx_shape_inference=True,
            input_size_limit=_NO_LIMIT,
            output_size_limit=_NO_LIMIT,
            should_fold=_should_fold,
        )
        if not fold_leftovers(model):
            return True  # inferred shapes are changes that the library does not report


def _should_fold(node: ir.Node) -> bool:
    """Fold every op but those that would blow a small constant up."""
    return node.op_type not in _EXPANDING or _output_size(node) <= _EXPANDED_LIMIT


def _output_size(node: ir.Node) -> float:
    """Elements of the first output, infinite where unknown."""
    shape = node.outputs[0].shape
    if shape is not None and shape.is_static():
        return math.prod(int(dim) for dim in shape.numpy())
    if node.op_type == "ConstantOfShape" and node.inputs and node.inputs[0] is not None:
        tensor = node.inputs[0].const_value
        if tensor is not None:
            return math.prod(int(dim) for dim in tensor.numpy())
    return math.inf


def _optimize(model: ir.Model) -> bool:
    optimize_ir(model, should_fold=lambda node: None if _should_fold(node) else False)
    return True


def _fuse_batchnorms(model: ir.Model) -> bool:
    return _BATCHNORM_RULES.apply_to_model(model) > 0


def _clean(model: ir.Model) -> bool:
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    # Strict mode gives up on the whole model when one node cannot be inferred.
    common.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    return True


#: Each changes the model and says whether it may have.
_STEPS: tuple[Callable[[ir.Model], bool], ...] = (
    _inline,
    standard_quantizers,
    defer_weights,
    _fold,
    untie_batchnorms,
    _optimize,
    untie_batchnorms,
    _fuse_batchnorms,
    affine_batchnorms,
    _clean,
    free_batch,  # last: the exporter's shape arithmetic is folded, every shape inferred
)


def _all_at_once(model: ir.Model, signature: tuple[str, ...]) -> ir.Model | None:
    """``model`` after all steps; None where one fails or what comes out is not valid."""
    try:
        with quiet():
            for step in _STEPS:
                step(model)
    except Exception as error:
        _log.debug("simplifying failed: %s", error)
        return None
    return model if _signature(model) == signature and _is_valid(model) else None


def _step_by_step(model: ir.Model, signature: tuple[str, ...]) -> ir.Model:
    """``model`` after the steps that work on it."""
    spare = model.clone()
    for step in _STEPS:
        model, spare = _attempt(step, model, spare, signature)
    return model


def _attempt(
    step: Callable[[ir.Model], bool],
    model: ir.Model,
    before: ir.Model,
    signature: tuple[str, ...],
) -> tuple[ir.Model, ir.Model]:
    """``model`` after ``step``, or as it was where the step fails on it, and a copy of that.

    ``before`` is such a copy of ``model`` as it comes in.

    Simplifying is a convenience: a network that a rewriting library stumbles over is still
    compiled, with fewer layers on the array, and ``check`` says which ones stay digital.
    """
    try:
        with quiet():
            changed = step(model)
    except Exception as error:
        # The libraries raise whatever their rules run into.
        _log.debug("%s failed: %s", step.__name__, error)
        return before, before.clone()
    if not changed:
        return model, before
    if _signature(model) == signature and (_is_valid(model) or not _is_valid(before)):
        return model, model.clone()
    _log.debug("%s broke the graph", step.__name__)
    return before, before.clone()


def _is_valid(model: ir.Model) -> bool:
    """Whether ONNX's strict shape and type inference accepts every node."""
    try:
        with quiet():
            proto = ir.to_proto(skeleton(model))
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, ir.serde.SerdeError):
        return False
    return True


def _signature(model: ir.Model) -> tuple[str, ...]:
    graph = model.graph
    return (
        *(value.name or "" for value in graph.inputs),
        "->",
        *(value.name or "" for value in graph.outputs),
    )


def _names_by_weight(model: ir.Model) -> dict[tuple[str, str], str]:
    """Node name by (op, weight name), for rewrites that lose it; ambiguous ones left out."""
    names: dict[tuple[str, str], str] = {}
    for node in model.graph:
        if len(node.inputs) > 1 and node.inputs[1] is not None and node.name:
            key = (node.op_type, node.inputs[1].name or "")
            names[key] = node.name if key not in names else ""
    return names


def _restore_names(model: ir.Model, names: dict[tuple[str, str], str]) -> None:
    taken = {node.name for node in model.graph}
    for node in model.graph:
        if len(node.inputs) < 2 or node.inputs[1] is None:
            continue
        name = names.get((node.op_type, node.inputs[1].name or ""))
        if name and name not in taken:
            node.name = name
            taken.add(name)
