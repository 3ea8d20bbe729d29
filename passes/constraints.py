"""Where every node of a network goes: array, digital or refused, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Literal

import numpy as np
import onnx_ir as ir

from pimc.errors import ModelError
from pimc.passes.array_rules import (
    ARRAY_OPS,
    DIGITAL_WEIGHTED_OPS,
    broken,
    is_array_op,
    needs,
)
from pimc.passes.constants import fresh
from pimc.passes.schemas import why_unknown
from pimc.passes.weights import Matrix, matrix_of
from pimc.plan import Plan

Where = Literal["array", "digital", "refused"]


@dataclass(frozen=True)
class NodeReport:
    """Where one node goes.

    Attributes:
        name: the layer's name for ops with a constant weight, else the node's.
        op: operator, with its domain where that is not ONNX's.
        output: name of its first output.
        shape: shape of its first output, ``?`` for unknown dimensions; None if unknown.
        where: ``array``, ``digital`` or ``refused``.
        reason: why it is there.
        fix: what would put it on the array or make it acceptable; empty if nothing.
        macs: multiply-accumulates a sample on the array, None where not known.
    """

    name: str
    op: str
    output: str
    shape: tuple[int | str, ...] | None
    where: Where
    reason: str
    fix: str = ""
    macs: int | None = None

    def line(self) -> str:
        """The report on one line."""
        shape = "?" if self.shape is None else "×".join(str(dim) for dim in self.shape)
        text = f"{self.name}: {self.op} → {self.output} [{shape}]: {self.reason}"
        return f"{text}; {self.fix}" if self.fix else text


@dataclass(frozen=True)
class Judged:
    """A node, where it goes, and its matrix if it goes on the array."""

    node: ir.Node
    report: NodeReport
    matrix: Matrix | None = None


def classify(plan: Plan, digital: Sequence[str] = ()) -> list[NodeReport]:
    """Where every node of ``plan``'s graph goes, in the order of the graph.

    Args:
        plan: after simplify; weights of operators hidden behind foldable ops are not seen
            before it.
        digital: globs on layer, output or node names that stay digital.
    """
    return [judged.report for judged in judge(plan.graph, digital)]


def judge(model: ir.Model, digital: Sequence[str] = ()) -> Iterator[Judged]:
    """Decide about the nodes of ``model`` one by one, control-flow bodies included."""
    taken: set[str] = set()
    for node in model.graph.all_nodes():
        yield _judge(node, model, digital, taken)


def refusal(reports: Collection[NodeReport], model_name: str) -> ModelError | None:
    """The one error for a network that cannot be compiled, with every offender; else None."""
    lines = [report.line() for report in reports if report.where == "refused"]
    if not any(report.where == "array" for report in reports):
        candidates = [r.line() for r in reports if r.op in ARRAY_OPS and r.where == "digital"]
        lines.append("no node can go on the array: pimc compiles networks with layers")
        lines += candidates
    if not any(report.where == "refused" for report in reports) and any(
        report.where == "array" for report in reports
    ):
        return None
    return ModelError("cannot be compiled:\n  " + "\n  ".join(lines), where=model_name)


def _judge(node: ir.Node, model: ir.Model, digital: Sequence[str], taken: set[str]) -> Judged:
    unknown = why_unknown(node, model)
    if unknown is not None:
        return Judged(node, _report(node, "refused", *unknown))
    if not is_array_op(node):
        hint = DIGITAL_WEIGHTED_OPS.get(node.op_type) if not node.domain else None
        reason = "no weight matrix" if hint is None else "its weights cannot go on the array"
        return Judged(node, _report(node, "digital", reason, hint or ""))
    lacking = broken(node, model.graph)
    if lacking is not None:
        return Judged(node, _report(node, "digital", f"needed: {lacking[0]}", lacking[1]))
    name = fresh(_weight_name(node), taken)
    labels = (name, _weight_name(node), node.outputs[0].name or "", node.name or "")
    if any(fnmatchcase(label, pattern) for pattern in digital for label in labels):
        return Judged(node, _report(node, "digital", "kept digital on request", name=name))
    matrix = matrix_of(node)
    if not (np.isfinite(matrix.weight).all() and np.isfinite(matrix.bias).all()):
        reason = "its weight or bias holds NaN, infinity or values beyond float32"
        hint = "train again or repair the weights"
        return Judged(node, _report(node, "refused", reason, hint, name=name))
    groups, rows, cols = matrix.weight.shape
    size = f"{rows}×{cols} matrix" if groups == 1 else f"{groups} {rows}×{cols} matrices"
    macs = _macs(node, matrix)
    return Judged(node, _report(node, "array", size, name=name, macs=macs), matrix)


def _report(
    node: ir.Node,
    where: Where,
    reason: str,
    hint: str = "",
    *,
    name: str | None = None,
    macs: int | None = None,
) -> NodeReport:
    output = (node.outputs[0].name or "") if node.outputs else ""
    return NodeReport(
        name=name or node.name or output,
        op=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
        output=output,
        shape=_shape(node.outputs[0]) if node.outputs else None,
        where=where,
        reason=reason,
        fix=hint,
        macs=macs,
    )


def _shape(value: ir.Value) -> tuple[int | str, ...] | None:
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else str(dim.value or "?") for dim in value.shape)


def _weight_name(node: ir.Node) -> str:
    weight = node.inputs[1]
    return (weight.name if weight is not None else None) or node.name or ""


def _macs(node: ir.Node, matrix: Matrix) -> int | None:
    """Weights times vectors a sample: the output's dimensions but batch and columns."""
    shape = _shape(node.outputs[0])
    if shape is None:
        return None
    vectors = shape[2:] if matrix.column_axis == 1 else shape[1:-1]
    sizes = [dim for dim in vectors if isinstance(dim, int)]
    return int(matrix.weight.size) * prod(sizes) if len(sizes) == len(vectors) else None


@dataclass(frozen=True)
class OpRow:
    """One row of the table of operators."""

    op: str
    where: Where
    needs: tuple[str, ...] = ()
    note: str = ""


def ops_table(native: Collection[str] = ()) -> list[OpRow]:
    """Rows of ``pimc ops``: array ops with their constraints, then the digital ones.

    Args:
        native: names of the ops that the runtime computes itself; all other ops of ONNX run
            in ONNX Runtime.
    """
    rows = [OpRow(op, "array", needs(op)) for op in ARRAY_OPS]
    rows += [OpRow(op, "digital", note=note) for op, note in DIGITAL_WEIGHTED_OPS.items()]
    listed = {row.op for row in rows}
    rows += [OpRow(op, "digital", note="native") for op in sorted(set(native) - listed)]
    return rows


def ops_markdown(rows: Sequence[OpRow]) -> str:
    """``rows`` as a Markdown table."""
    lines = ["| operator | where | condition or note |", "|---|---|---|"]
    for row in rows:
        cell = "<br>".join(row.needs) or row.note
        lines.append(f"| {row.op} | {row.where} | {cell} |")
    return "\n".join(lines) + "\n"
