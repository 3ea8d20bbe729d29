"""Puts the nodes that stand for one operator into its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from pimc.errors import PlanError
from pimc.passes.constants import Array, add_constant, add_tensor, fresh, names_in_use
from pimc.passes.deferred import DeferredTensor, Source
from pimc.passes.quiet import quiet

__all__ = ["LAYER", "SOURCE_OP", "Emitter", "settle", "source_op"]

#: Metadata of a node that stands for another operator or a part of it: that operator.
SOURCE_OP = "pimc.source"
#: Metadata of a node that was decided to go on the array already: the name of its layer.
LAYER = "pimc.layer"


def source_op(node: ir.Node) -> str:
    """The operator that the user's model has where ``node`` is."""
    return node.metadata_props.get(SOURCE_OP, node.op_type)


@dataclass
class Emitter:
    """Collects what replaces ``node``; new names begin with the name of its first output.

    Attributes:
        main: where constants are put; bodies of control flow see them too.
        taken: the names in use.
        weights: constants that take over the weight of ``node``, and the name of that.
    """

    node: ir.Node
    main: ir.Graph
    taken: set[str] = field(repr=False)
    nodes: list[ir.Node] = field(default_factory=list, repr=False)
    weights: list[tuple[ir.Value, str]] = field(default_factory=list, repr=False)

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        domain: str = "",
        outputs: int = 1,
        **attributes: Any,
    ) -> ir.Value:
        """Add a node; returns its (first) output."""
        name = self.name(op_type.lower())
        node = ir.Node(
            domain,
            op_type,
            inputs,
            ir.convenience.convert_attributes(attributes),
            num_outputs=outputs,
            name=name,
            metadata_props={SOURCE_OP: source_op(self.node)},
        )
        for number, value in enumerate(node.outputs):
            value.name = self.name(op_type.lower()) if number else name
        self.nodes.append(node)
        return node.outputs[0]

    def constant(self, array: Array) -> ir.Value:
        """Add a constant."""
        return add_constant(self.main, self.name("constant"), array)

    def weight(self, array: Array, name: str | None) -> ir.Value:
        """Add what a layer is made of; its ``name`` is kept if nobody else has it in the end."""
        wanted = name or "weight"
        value = add_constant(self.main, fresh(wanted, self.taken), array)
        self.weights.append((value, wanted))
        return value

    def deferred(self, source: Source, name: str | None) -> ir.Value:
        """Add what a layer is made of, to be worked out when it is asked for."""
        wanted = name or "weight"
        dtype = ir.DataType.from_numpy(source.dtype)
        tensor = DeferredTensor(source, dtype, fresh(wanted, self.taken))
        self.weights.append((value := add_tensor(self.main, tensor), wanted))
        return value

    def integers(self, values: Sequence[int]) -> ir.Value:
        """Add a constant vector of whole numbers."""
        return self.constant(np.asarray(values, np.int64))

    def index(self, value: int) -> ir.Value:
        """Add a whole number."""
        return self.constant(np.asarray(value, np.int64))

    def inner(self) -> Emitter:
        """An emitter for the body of a control-flow node that is among the nodes of this one."""
        return Emitter(self.node, self.main, self.taken, weights=self.weights)

    def replace(self, values: Sequence[ir.Value | None]) -> None:
        """Put the nodes in the place of ``node``; ``values`` stand for its outputs."""
        graph = self.node.graph
        if graph is None:
            raise PlanError("is in no graph", where=self.node.name)
        pairs = [
            (before, after)
            for before, after in zip(self.node.outputs, values, strict=False)
            if before.name and after is not None
        ]
        for before, after in pairs:
            after.type = before.type or after.type
            after.shape = before.shape or after.shape
        old, new = ([pair[side] for pair in pairs] for side in (0, 1))
        ir.convenience.replace_nodes_and_values(graph, self.node, [self.node], self.nodes, old, new)

    def name(self, role: str) -> str:
        """A new name."""
        final = next((value.name for value in self.node.outputs if value.name), "value")
        return fresh(f"{final}/{role}", self.taken)


def settle(model: ir.Model, emitters: Sequence[Emitter]) -> None:
    """Once all nodes are replaced: drop what nobody needs, infer shapes, name the weights."""
    if not emitters:
        return
    with quiet():
        RemoveUnusedNodesPass()(model)
        ShapeInferencePass(check_type=False, strict_mode=False)(model)
    taken = names_in_use(model)
    for value, name in (pair for emit in emitters for pair in emit.weights):
        _take_over(model.graph, value, name, taken)


def _take_over(graph: ir.Graph, value: ir.Value, name: str, taken: set[str]) -> None:
    """Call a weight ``name``, unless another value has that name."""
    if name in taken or value.name not in graph.initializers:
        return
    del graph.initializers[str(value.name)]
    value.name = name
    if value.const_value is not None:
        value.const_value.name = name
    graph.register_initializer(value)
    taken.add(name)
