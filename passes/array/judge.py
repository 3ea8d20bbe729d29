"""Where every node of a network goes: array, digital or refused, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Literal

import onnx_ir as ir

from pimc.errors import ModelError
from pimc.files.weights.weight import all_finite
from pimc.passes.array.constraints import (
    ARRAY_OPS,
    DIGITAL_WEIGHTED_OPS,
    LAYER_OPS,
    UNWEIGHTED,
    broken,
    conditions,
    identifier,
    is_array_op,
)
from pimc.passes.array.macs import digital_macs
from pimc.passes.array.weights import Matrix, matrix_of
from pimc.passes.graph.constants import fresh
from pimc.passes.graph.schemas import why_unknown
from pimc.passes.lower.emitter import LAYER, SOURCE_OP, source_names, source_op
from pimc.passes.lower.needs import fix, says
from pimc.plan.records import Plan

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
        macs: multiply-accumulates a sample, None where not known; 0 of an op without products.
    """

    name: str
    op: str
    output: str
    shape: tuple[int | str, ...] | None
    where: Where
    reason: str
    fix: str = ""
    macs: int | None = 0

    def line(self) -> str:
        """The report on one line."""
        shape = "?" if self.shape is None else "×".join(str(dim) for dim in self.shape)
        text = f"{self.name}: {self.op} → {self.output} [{shape}]: {self.reason}"
        return f"{text}; {self.fix}" if self.fix else text


@dataclass(frozen=True)
class Judged:
    """A node, where it goes, and its matrix if it goes on the array.

    Attributes:
        weighted: it has weights and stays digital for a reason of its own.
        labels: what names the layer of a node that goes on the array.
    """

    node: ir.Node
    report: NodeReport
    matrix: Matrix | None = None
    weighted: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Names:
    """Names of layers: those in use, and of each weight and way of using it."""

    taken: set[str]
    shared: dict[tuple[object, ...], str]

    def of(self, node: ir.Node) -> tuple[str, bool]:
        """The layer's name for ``node``, and whether an earlier node has the same layer.

        Nodes that use one weight in the same way share its cells; biases may differ.
        """
        if (decided := node.metadata_props.get(LAYER)) is not None:
            self.taken.add(decided)
            return decided, False
        attributes = sorted((name, repr(a.value)) for name, a in node.attributes.items())
        key = (node.inputs[1], node.op_type, *attributes)
        if key in self.shared:
            return self.shared[key], True
        self.shared[key] = fresh(_weight_name(node), self.taken)
        return self.shared[key], False


def classify(
    plan: Plan, digital: Sequence[str] = (), *, array_only: bool = False
) -> list[NodeReport]:
    """Where every node of ``plan``'s graph goes, in the order of the graph.

    Args:
        plan: after lowering; weights of operators hidden behind foldable ops, and those of
            operators that become others, are not seen before it.
        digital: globs on layer, output or node names that stay digital.
        array_only: refuse what has weights and cannot go on the array.
    """
    return [judged.report for judged in judge(plan.graph, digital, array_only=array_only)]


def judge(
    model: ir.Model, digital: Sequence[str] = (), *, array_only: bool = False
) -> Iterator[Judged]:
    """Decide about the nodes of ``model`` one by one, control-flow bodies included."""
    names = _Names(set(), {})
    for node in model.graph.all_nodes():
        judged = _judge(node, model, digital, names)
        if array_only and judged.report.where == "digital" and judged.weighted:
            judged = replace(judged, report=replace(judged.report, where="refused"))
        yield judged


def array_share(reports: Iterable[NodeReport]) -> float | None:
    """Part of the network's multiply-accumulates that arrays do; None where shapes are not known.

    Products only: what normalisations, activations and sums take is not counted.
    """
    counts = {"array": 0, "digital": 0, "refused": 0}
    for report in reports:
        if report.macs is None:
            return None
        counts[report.where] += report.macs
    total = sum(counts.values())
    return counts["array"] / total if total else None


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


def _judge(node: ir.Node, model: ir.Model, digital: Sequence[str], names: _Names) -> Judged:
    unknown = why_unknown(node, model)
    if unknown is not None:
        return Judged(node, _report(node, "refused", *unknown))
    if not is_array_op(node):
        macs = digital_macs(node)
        if SOURCE_OP in node.metadata_props:
            reason = f"part of {source_op(node)}"
            return Judged(node, _report(node, "digital", reason, macs=macs))
        hint = DIGITAL_WEIGHTED_OPS.get(identifier(node))
        reason = "no weight matrix" if hint is None else "its weights cannot go on the array"
        report = _report(node, "digital", reason, hint or "", macs=macs)
        return Judged(node, report, weighted=hint is not None)
    labels = [_weight_name(node), *source_names(node), node.outputs[0].name, node.name]
    lacking = broken(node)
    if lacking is not None:
        needed = f"needed: {says(lacking)}"
        report = _report(node, "digital", needed, fix(lacking), macs=digital_macs(node))
        weighted = lacking not in UNWEIGHTED and not _named(labels, digital)
        return Judged(node, report, weighted=weighted)
    if node.op_type not in LAYER_OPS:
        # Lowering left it, for shapes that are known too late or not at all.
        reason, hint = "it could not be taken apart", "export the model with all shapes"
        report = _report(node, "digital", reason, hint, macs=digital_macs(node))
        return Judged(node, report, weighted=not _named(labels, digital))
    name, again = names.of(node)
    if _named([name, *labels], digital) and LAYER not in node.metadata_props:
        asked, macs = "kept digital on request", digital_macs(node)
        return Judged(node, _report(node, "digital", asked, name=name, macs=macs))
    matrix = matrix_of(node)
    if not (matrix.weight.is_finite() and all_finite(matrix.bias)):
        reason = "its weight or bias holds NaN, infinity or values beyond float32"
        hint = "train again or repair the weights"
        return Judged(node, _report(node, "refused", reason, hint, name=name))
    groups, rows, cols = matrix.weight.shape
    size = f"{rows}×{cols} matrix" if groups == 1 else f"{groups} {rows}×{cols} matrices"
    size += ", the cells of an earlier node" if again else ""
    # How often a body runs is not known.
    macs = _macs(node, matrix) if node.graph is model.graph else None
    report = _report(node, "array", size, name=name, macs=macs)
    return Judged(node, report, matrix, labels=(name, *(label or "" for label in labels)))


def _named(labels: Iterable[str | None], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(label or "", pattern) for pattern in patterns for label in labels)


def _report(
    node: ir.Node,
    where: Where,
    reason: str,
    hint: str = "",
    *,
    name: str | None = None,
    macs: int | None = 0,
) -> NodeReport:
    output = (node.outputs[0].name or "") if node.outputs else ""
    return NodeReport(
        name=name or node.name or output,
        op=source_op(node) if where == "array" else identifier(node),
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
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    return (weight.name if weight is not None else None) or node.name or ""


def _macs(node: ir.Node, matrix: Matrix) -> int | None:
    """Weights times vectors a sample: the output's dimensions but batch and columns."""
    shape = _shape(node.outputs[0])
    if shape is None:
        return None
    vectors = shape[2:] if matrix.column_axis == 1 else shape[1:-1]
    sizes = [dim for dim in vectors if isinstance(dim, int)]
    return matrix.weight.size * prod(sizes) if len(sizes) == len(vectors) else None


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
    rows = [OpRow(op, "array", conditions(op)) for op in ARRAY_OPS]
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
