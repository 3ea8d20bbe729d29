"""Streams: values that one rotation of their channels passes through, from layers to layers.

A stream is found as what hangs together. All that writes it must be able to write it rotated:
columns of layers, tables of embeddings and other constants. All that reads it must not notice
(see :mod:`pimc.passes.rotate.carried`) or be a layer, whose rows are rotated against it. So
QuaRot and SpinQuant rotate the residual stream of a transformer, and the values of its attention
head by head (arXiv 2404.00456, 2405.16406).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from pimc.passes.graph.constants import constant_tensor, is_constant, is_float
from pimc.passes.rotate.carried import BlockedError, carried, width
from pimc.plan.records import Layer, Plan, array_nodes, is_array_node, layer_of, repeated_layers

__all__ = ["Operand", "Stream", "streams_of"]

#: Fewer channels than that have nothing to spread.
_LEAST = 4


@dataclass(frozen=True, eq=False)
class Operand:
    """A constant that is to be rotated where one node reads it.

    Attributes:
        node, place: which input of which node.
        rows: its rows are rotated against the stream, else its last axis is part of it.
    """

    node: ir.Node
    place: int
    rows: bool


@dataclass(eq=False)
class Stream:
    """What one rotation changes.

    Attributes:
        block: channels that are rotated together; axes of several blocks rotate each alike.
        keeps_mean: the rotation must leave a vector of ones as it is.
        writers: layers whose columns are rotated.
        readers: layers whose rows are rotated against it.
        operands: constants likewise.
        values: all values of it.
    """

    block: int
    keeps_mean: bool = False
    writers: dict[str, None] = field(default_factory=dict)
    readers: dict[str, None] = field(default_factory=dict)
    operands: dict[tuple[ir.Node, int], Operand] = field(default_factory=dict)
    values: dict[ir.Value, None] = field(default_factory=dict)


def streams_of(plan: Plan) -> tuple[list[Stream], list[str]]:
    """The streams of a network that may be rotated, and what is in the way of others."""
    repeated = repeated_layers(plan.graph)
    layers = {
        layer.name: layer
        for layer in plan.layers
        if layer.name not in repeated and layer.window is None and layer.groups == 1
    }
    found: list[Stream] = []
    refused: dict[str, None] = {}
    looked_at: set[ir.Value] = set()
    for node in array_nodes(plan.graph):
        layer, value = layers.get(layer_of(node)), node.outputs[0]
        if layer is None or value in looked_at:
            continue
        stream, why = _largest(value, layer.cols, layers, plan.graph.graph)
        looked_at.update(stream.values)
        if why is not None:
            refused[why] = None
        elif stream.readers:
            found.append(stream)
    return found, list(refused)


def _largest(
    value: ir.Value, block: int, layers: Mapping[str, Layer], graph: ir.Graph
) -> tuple[Stream, str | None]:
    """The stream of a value in the largest blocks; with the reason if there are none."""
    while True:
        trace = _Trace(Stream(block), layers, graph)
        try:
            trace.follow(value)
        except BlockedError as blocked:
            smaller = blocked.width
            if smaller is None or not _LEAST <= smaller < block or block % smaller:
                return trace.stream, str(blocked)
            block = smaller
        else:
            return trace.stream, None


@dataclass
class _Trace:
    """Follows a stream to all its ends."""

    stream: Stream
    layers: Mapping[str, Layer]
    graph: ir.Graph
    pending: list[ir.Value] = field(default_factory=list)

    def follow(self, value: ir.Value) -> None:
        """From one value on.

        Raises:
            BlockedError: somewhere it does not go on.
        """
        self.pending.append(value)
        while self.pending:
            value = self.pending.pop()
            if value in self.stream.values:
                continue
            self.stream.values[value] = None
            producer = value.producer()
            if producer is None or value.is_graph_output():
                user = producer or next(iter(value.uses())).node
                raise BlockedError(user, "reads or gives what the network takes or gives")
            self._require(producer, width(value) or 1)
            for use in value.uses():
                self._read(use.node, use.idx)
            self._written(producer, value)

    def _read(self, node: ir.Node, place: int) -> None:
        if is_array_node(node):
            layer = self._layer(node)
            if layer.nonnegative_input or layer.input_steps is not None:
                raise BlockedError(node, "takes inputs as they are")
            self._require(node, layer.rows)
            self.stream.readers[layer.name] = None
        elif _is_product(node) and place == 0:
            self._turn(node, 1, rows=True)
        else:
            self._pass(node, place)

    def _written(self, node: ir.Node, value: ir.Value) -> None:
        if is_array_node(node):
            layer = self._layer(node)
            self._require(node, layer.cols)
            self.stream.writers[layer.name] = None
        elif _is_product(node):
            self._turn(node, 1, rows=False)
        else:
            self._pass(node, None, value)

    def _pass(self, node: ir.Node, place: int | None, value: ir.Value | None = None) -> None:
        """Through an operator, to all its values that rotate together."""
        if node.graph is not self.graph:
            raise BlockedError(node, "is in the body of another")
        part = carried(node, self.stream.block)
        if value not in part.outputs if place is None else place not in part.inputs:
            raise BlockedError(node, "does not pass rotations on")
        self.stream.keeps_mean |= part.keeps_mean
        self.pending += part.outputs
        for number in part.inputs:
            source = node.inputs[number]
            if is_constant(source):
                self._turn(node, number, rows=False)
            elif source is not None:
                self.pending.append(source)

    def _turn(self, node: ir.Node, place: int, *, rows: bool) -> None:
        """Have a constant rotated."""
        tensor = constant_tensor(node.inputs[place])
        if tensor is None or not is_float(tensor.dtype) or node.graph is not self.graph:
            raise BlockedError(node, "has an operand that cannot be rotated")
        size = tensor.shape[-2] if rows else width(node.inputs[place])
        self._require(node, size if isinstance(size, int) else 1)
        key = (node, place if not rows else -1 - place)
        self.stream.operands[key] = Operand(node, place, rows)

    def _require(self, node: ir.Node, size: int) -> None:
        if size % self.stream.block:
            raise BlockedError(node, "has another number of channels")

    def _layer(self, node: ir.Node) -> Layer:
        layer = self.layers.get(layer_of(node))
        if layer is None or node.graph is not self.graph:
            raise BlockedError(node, "is used several times, or is no matrix of channels")
        return layer


def _is_product(node: ir.Node) -> bool:
    """Whether a node multiplies by a constant matrix."""
    if node.domain or node.op_type != "MatMul" or not is_constant(node.inputs[1]):
        return False
    shape = None if node.inputs[1] is None else node.inputs[1].shape
    return shape is not None and len(shape) == 2
