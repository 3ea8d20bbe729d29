"""Take the weights out of the graph: layers for the array, the rest stays digital."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pimc.chip.sections import LayerMapping
from pimc.errors import PlanError
from pimc.files.weights.weight import Floats
from pimc.passes.array.input_steps import input_steps
from pimc.passes.array.judge import Judged, judge, refusal
from pimc.passes.array.mappings import mappings_of
from pimc.passes.array.nonneg import nonnegative_values
from pimc.passes.array.weights import Matrix
from pimc.passes.graph.constants import (
    Array,
    add_constant,
    constant_array,
    fresh,
    names_in_use,
)
from pimc.passes.lower.emitter import source_op
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Plan,
)

if TYPE_CHECKING:
    from pimc.chip.design import Chip


@dataclass(frozen=True)
class Partition:
    """Replace every node that fits the array by a ``pimc::Array`` node and a layer.

    Attributes:
        digital: globs on layer, output or node names that stay digital.
        array_only: refuse what has weights and cannot go on the array.
        mapping: how layers become cells whose names fit the globs, where not as the chip says;
            of several globs that fit the last counts.
    """

    name: ClassVar[str] = "partition"
    digital: tuple[str, ...] = ()
    array_only: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, plan: Plan, chip: Chip | None = None) -> Plan:
        """Return ``plan`` with layers and provenance; ``chip`` is asked about mappings alone.

        Raises:
            UsageError: a mapping is not understood, or is of no layer.
            ChipError: the chip cannot hold a layer in its mapping.
            ModelError: some nodes cannot be run by anybody, weights are not finite, or no
                node can go on the array. One error names all of them.
        """
        model = plan.graph.clone()
        judged = list(judge(model, self.digital, array_only=self.array_only))
        error = refusal([entry.report for entry in judged], plan.model_name)
        if error is not None:
            raise error
        rewrite = _Rewrite(
            model.graph,
            nonnegative=frozenset(v.name or "" for v in nonnegative_values(model.graph)),
            taken=names_in_use(model),
        )
        uses: dict[str, list[Judged]] = {}
        for entry in judged:
            if entry.matrix is not None:
                uses.setdefault(entry.report.name, []).append(entry)
        labels = {name: [e.labels for e in entries] for name, entries in uses.items()}
        mappings = mappings_of(labels, self.mapping, chip)
        placed = [rewrite.place(entries, mappings[name]) for name, entries in uses.items()]
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
class _Use:
    """One node of a layer.

    Attributes:
        last: the last node that the layer takes over.
        bias: what the layer would add there.
    """

    node: ir.Node
    matrix: Matrix
    last: ir.Node
    bias: Floats


@dataclass(frozen=True)
class _Rewrite:
    """Puts array nodes into ``graph`` one by one; ``taken`` are the value names in use."""

    graph: ir.Graph
    nonnegative: frozenset[str]
    taken: set[str] = field(repr=False)

    def place(
        self, entries: Sequence[Judged], mapping: LayerMapping | None
    ) -> tuple[Layer, Mapping[str, Any]]:
        """Replace all nodes of one layer; returns it and where it came from."""
        name, first = entries[0].report.name, entries[0].node
        uses = [_use(entry.node, entry.matrix) for entry in entries if entry.matrix is not None]
        matrix, bias = uses[0].matrix, uses[0].bias
        together = all(np.array_equal(use.bias, bias) for use in uses)
        if not together:
            bias = np.zeros_like(bias)
        weight = first.inputs[1]
        origin = {
            "op": source_op(first),
            "node": first.name or "",
            "output": first.outputs[0].name or "",
            "weight": (weight.name if weight is not None else None) or "",
        }
        nonnegative = all(
            use.node.inputs[0] is not None and use.node.inputs[0].name in self.nonnegative
            for use in uses
        )
        steps, *stated = [input_steps(use.node.inputs[0]) for use in uses]
        outputs = [self._replace(use, name, together) for use in uses]
        groups, rows, cols = matrix.weight.shape
        layer = Layer(
            name=name,
            output=outputs[0],
            op=source_op(first),
            groups=groups,
            rows=rows,
            cols=cols,
            window=matrix.window,
            weight=matrix.weight,
            bias=bias,
            nonnegative_input=nonnegative,
            input_steps=steps if all(s == steps for s in stated) else None,
            mapping=mapping,
        )
        return layer, origin

    def _replace(self, use: _Use, layer: str, together: bool) -> str:
        """Put the array node where a use was; returns its output's name.

        Args:
            together: the layer adds the bias; else it is added behind it.
        """
        node, matrix = use.node, use.matrix
        final = use.last.outputs[0]
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
        if not together and use.bias.any():
            offset = chain.constant(matrix.along_columns(use.bias), "bias")
            value = chain.append(ir.Node("", "Add", [value, offset]), "biased", dtype)
        if matrix.added is not None:
            added = chain.scaled(matrix.added, matrix.added_scale)
            value = chain.append(ir.Node("", "Add", [value, added]), "sum", dtype)
        removed = [node] if use.last is node else [node, use.last]
        graph = node.graph
        if graph is None:
            raise PlanError("is in no graph", where=layer)
        ir.convenience.replace_nodes_and_values(graph, node, removed, chain.nodes, [final], [value])
        return array.outputs[0].name or ""


def _use(node: ir.Node, matrix: Matrix) -> _Use:
    """The last node that a layer takes over, and the bias with what that one adds."""
    alone = _Use(node, matrix, node, matrix.bias)
    output = node.outputs[0]
    uses = tuple(output.uses())
    if matrix.added is not None or len(uses) != 1 or output.is_graph_output():
        return alone
    consumer, index = uses[0]
    if consumer.op_type != "Add" or consumer.domain or consumer.graph is not node.graph:
        return alone
    array = constant_array(consumer.inputs[1 - index])
    vector = None if array is None else matrix.as_bias(array)
    if vector is None or not np.isfinite(vector).all():
        return alone
    return _Use(node, matrix, consumer, matrix.bias + vector)


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
        source = node.inputs[0]
        output.shape = source.shape if role == "input" and source else self.final.shape
        self.nodes.append(node)
        return output

    def constant(self, values: Array, role: str) -> ir.Value:
        """A constant of the values' type."""
        name = fresh(f"{self.final.name}/{role}", self.rewrite.taken)
        return add_constant(self.rewrite.graph, name, values.astype(self.dtype.numpy()))

    def scaled(self, value: ir.Value, scale: float) -> ir.Value:
        """``value`` times ``scale``."""
        if scale == 1.0:
            return value
        factor = self.constant(np.asarray(scale), "scale")
        return self.append(ir.Node("", "Mul", [value, factor]), "scaled", self.dtype)


def _dtype(node: ir.Node) -> ir.DataType:
    weight = node.inputs[1]
    tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
    return ir.DataType.FLOAT if tensor is None else tensor.dtype


def _cast(value: ir.Value | None, dtype: ir.DataType) -> ir.Node:
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype.value)])
