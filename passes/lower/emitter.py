"""Puts the nodes that stand for one operator into its graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from pimc.errors import PlanError
from pimc.passes.graph.constants import (
    Array,
    add_constant,
    add_tensor,
    fresh,
    names_in_use,
)
from pimc.passes.graph.quiet import quiet
from pimc.passes.simplify.deferred import DeferredTensor, Source

__all__ = ["LAYER", "SOURCE_OP", "Emitter", "finish", "source_names", "source_op"]

#: Metadata of a node that stands for another operator or a part of it: that operator.
SOURCE_OP = "pimc.source"
#: Metadata of such a node: name and outputs of that operator, a line each.
SOURCE_NAMES = "pimc.names"
#: Metadata of a node that was decided to go on the array already: the name of its layer.
LAYER = "pimc.layer"


def source_op(node: ir.Node) -> str:
    """The operator that the user's model has where ``node`` is."""
    return node.metadata_props.get(SOURCE_OP, node.op_type)


def source_names(node: ir.Node) -> list[str]:
    """What the user's model calls the operator that ``node`` stands for: its name and outputs."""
    stated = node.metadata_props.get(SOURCE_NAMES)
    if stated is not None:
        return stated.split("\n")
    return [name for name in (node.name, *(value.name for value in node.outputs)) if name]


@dataclass
class Emitter:
    """Collects what replaces ``node``; new names begin with the name of its first output.

    Attributes:
        main: where constants are put; bodies of control flow see them too.
        taken: the names in use.
        shared: weights of the pass by what they are made of; tied ones are one.
        weights: constants that take over the weight of ``node``, and the name of that.
    """

    node: ir.Node
    main: ir.Graph
    taken: set[str] = field(repr=False)
    shared: dict[Hashable, ir.Value] = field(default_factory=dict, repr=False)
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
        return self.ops(op_type, *inputs, domain=domain, outputs=outputs, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        domain: str = "",
        outputs: int,
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node; returns its outputs."""
        name = self.name(op_type.lower())
        node = ir.Node(
            domain,
            op_type,
            inputs,
            ir.convenience.convert_attributes(attributes),
            num_outputs=outputs,
            name=name,
            metadata_props={
                SOURCE_OP: source_op(self.node),
                SOURCE_NAMES: "\n".join(source_names(self.node)),
            },
        )
        for number, value in enumerate(node.outputs):
            value.name = self.name(op_type.lower()) if number else name
        self.nodes.append(node)
        return node.outputs

    def constant(self, array: Array) -> ir.Value:
        """Add a constant."""
        return add_constant(self.main, self.name("constant"), array)

    def weight(self, array: Array, name: str | None) -> ir.Value:
        """Add what a layer is made of; its ``name`` is kept if nobody else has it in the end."""
        return self._weight(ir.tensor(np.asarray(array, order="C")), name)

    def deferred(
        self, source: Source, name: str | None, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """Add what a layer is made of, to be worked out when it is asked for."""
        kind = dtype or ir.DataType.from_numpy(source.dtype)
        return self._weight(DeferredTensor(source, kind), name)

    def _weight(self, tensor: ir.TensorProtocol, name: str | None) -> ir.Value:
        wanted = name or "weight"
        tensor.name = fresh(wanted, self.taken)
        value = add_tensor(self.main, tensor)
        self.weights.append((value, wanted))
        return value

    def once(self, key: Hashable, make: Callable[[], ir.Value | None]) -> ir.Value | None:
        """What ``make`` adds, or what it added for an earlier node with the same ``key``."""
        known = self.shared.get(key)
        if known is not None and self.main.initializers.get(known.name or "") is known:
            return known
        made = make()
        if made is not None:
            self.shared[key] = made
        return made

    def integers(self, values: Sequence[int]) -> ir.Value:
        """Add a constant vector of whole numbers."""
        return self.constant(np.asarray(values, np.int64))

    def index(self, value: int) -> ir.Value:
        """Add a whole number."""
        return self.constant(np.asarray(value, np.int64))

    def inner(self) -> Emitter:
        """An emitter for the body of a control-flow node that is among the nodes of this one."""
        return Emitter(self.node, self.main, self.taken, self.shared, weights=self.weights)

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


def finish(model: ir.Model, emitters: Sequence[Emitter]) -> None:
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
