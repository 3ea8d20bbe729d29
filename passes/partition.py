"""Take the weights out of the graph: layers for the array, the rest stays digital."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pimc.errors import PlanError
from pimc.passes.constants import add_constant, constant_array, fresh
from pimc.passes.constraints import Judged, judge, refusal
from pimc.passes.nonneg import nonnegative_values
from pimc.passes.weights import Matrix
from pimc.plan import ARRAY_OP, DOMAIN, Floats, Layer, Plan

if TYPE_CHECKING:
    from pimc.chip import Chip


@dataclass(frozen=True)
class Partition:
    """Replace every node that fits the array by a ``pimc::Array`` node and a layer.

    Attributes:
        digital: globs on layer, output or node names that stay digital.
    """

    name: ClassVar[str] = "partition"
    digital: tuple[str, ...] = ()

    def __call__(self, plan: Plan, chip: Chip | None = None) -> Plan:
        """Return ``plan`` with layers and provenance; ``chip`` is not used.

        Raises:
            ModelError: some nodes cannot be run by anybody, weights are not finite, or no
                node can go on the array. One error names all of them.
        """
        model = plan.graph.clone()
        judged = list(judge(model, self.digital))
        error = refusal([entry.report for entry in judged], plan.model_name)
        if error is not None:
            raise error
        rewrite = _Rewrite(
            model.graph,
            nonnegative=frozenset(v.name or "" for v in nonnegative_values(model.graph)),
            taken=set(ir.convenience.create_value_mapping(model.graph)),
        )
        placed = [rewrite.place(entry) for entry in judged if entry.matrix is not None]
        RemoveUnusedNodesPass()(model)
        model.opset_imports[DOMAIN] = 1
        return replace(
            plan,
            graph=model,
            stage=self.name,
            layers=tuple(layer for layer, _ in placed),
            provenance={layer.name: origin for layer, origin in placed},
        )


@dataclass(frozen=True)
class _Rewrite:
    """Puts array nodes into ``graph`` one by one; ``taken`` are the value names in use."""

    graph: ir.Graph
    nonnegative: frozenset[str]
    taken: set[str] = field(repr=False)

    def place(self, entry: Judged) -> tuple[Layer, Mapping[str, Any]]:
        """Replace one node; returns its layer and where that came from."""
        node, matrix = entry.node, entry.matrix
        if matrix is None or node.inputs[0] is None or node.inputs[1] is None:
            raise PlanError("is no node for the array", where=entry.report.name)
        origin = {
            "op": node.op_type,
            "node": node.name or "",
            "output": node.outputs[0].name or "",
            "weight": node.inputs[1].name or "",
        }
        nonnegative = node.inputs[0].name in self.nonnegative
        last, bias = self._following_bias(node, matrix)
        output = self._replace(node, last, matrix, entry.report.name)
        groups, rows, cols = matrix.weight.shape
        layer = Layer(
            name=entry.report.name,
            output=output,
            op=node.op_type,
            groups=groups,
            rows=rows,
            cols=cols,
            window=matrix.window,
            weight=matrix.weight,
            bias=bias,
            nonnegative_input=nonnegative,
        )
        return layer, origin

    def _following_bias(self, node: ir.Node, matrix: Matrix) -> tuple[ir.Node, Floats]:
        """The last node that the layer takes over, and the bias with what that one adds."""
        output = node.outputs[0]
        uses = tuple(output.uses())
        if matrix.added is not None or len(uses) != 1 or output.is_graph_output():
            return node, matrix.bias
        consumer, index = uses[0]
        if consumer.op_type != "Add" or consumer.domain or consumer.graph is not self.graph:
            return node, matrix.bias
        array = constant_array(consumer.inputs[1 - index])
        vector = None if array is None else matrix.as_bias(array)
        if vector is None or not np.isfinite(vector).all():
            return node, matrix.bias
        return consumer, matrix.bias + vector

    def _replace(self, node: ir.Node, last: ir.Node, matrix: Matrix, layer: str) -> str:
        """Put the array node where ``node`` to ``last`` were; returns its output's name."""
        final = last.outputs[0]
        dtype = _dtype(node)
        chain = _Chain(self, final, dtype)
        source = node.inputs[0]
        if dtype != ir.DataType.FLOAT:
            source = chain.append(_cast(source, ir.DataType.FLOAT), "input", ir.DataType.FLOAT)
        attribute = ir.AttrString("layer", layer)
        name = node.name or layer
        array = ir.Node(DOMAIN, ARRAY_OP, [source], [attribute], name=name)
        value = chain.append(array, "array", ir.DataType.FLOAT)
        if dtype != ir.DataType.FLOAT:
            value = chain.append(_cast(value, dtype), "cast", dtype)
        if matrix.added is not None:
            added = chain.scaled(matrix.added, matrix.added_scale)
            value = chain.append(ir.Node("", "Add", [value, added]), "sum", dtype)
        removed = [node] if last is node else [node, last]
        ir.convenience.replace_nodes_and_values(
            self.graph, node, removed, chain.nodes, [final], [value]
        )
        return array.outputs[0].name or ""


@dataclass(frozen=True)
class _Chain:
    """Nodes that together replace one; inner values are named after the ``final`` one."""

    rewrite: _Rewrite
    final: ir.Value
    dtype: ir.DataType
    nodes: list[ir.Node] = field(default_factory=list)

    def append(self, node: ir.Node, role: str, dtype: ir.DataType) -> ir.Value:
        """Add ``node``; its output is named by ``role`` until it turns out to be the last."""
        output = node.outputs[0]
        output.name = fresh(f"{self.final.name}/{role}", self.rewrite.taken)
        output.dtype = dtype
        output.shape = None if role == "input" else self.final.shape
        self.nodes.append(node)
        return output

    def scaled(self, value: ir.Value, scale: float) -> ir.Value:
        """``value`` times ``scale``."""
        if scale == 1.0:
            return value
        factor = np.asarray(scale, self.dtype.numpy())
        name = fresh(f"{self.final.name}/scale", self.rewrite.taken)
        constant = add_constant(self.rewrite.graph, name, factor)
        return self.append(ir.Node("", "Mul", [value, constant]), "scaled", self.dtype)


def _dtype(node: ir.Node) -> ir.DataType:
    weight = node.inputs[1]
    tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
    return ir.DataType.FLOAT if tensor is None else tensor.dtype


def _cast(value: ir.Value | None, dtype: ir.DataType) -> ir.Node:
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype.value)])
