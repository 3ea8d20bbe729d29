"""Dataflow: which layer's output reaches which layer's input through digital operators only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir

from pimc.plan.records import (
    Plan,
    bodies,
    is_array_node,
    layer_of,
)

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Traffic", "layer_graph", "layer_traffic"]

#: The producer's columns, by numbers of the producing and the consuming layer.
Traffic = dict[tuple[int, int], int]


def layer_traffic(plan: Plan) -> Traffic:
    """Values that go from layer to layer for each input vector of the producer."""
    index = {layer.name: number for number, layer in enumerate(plan.layers)}
    traffic: Traffic = {}
    _follow(plan.graph.graph, {}, plan, index, traffic)
    return traffic


def layer_graph(plan: Plan) -> nx.DiGraph[str]:
    """:func:`layer_traffic` as a graph: nodes are layers by name, an edge has its ``values``."""
    import networkx as nx  # takes a seventh of a second, longer than the placing itself

    graph: nx.DiGraph[str] = nx.DiGraph()
    for layer in plan.layers:
        sizes = {"groups": layer.groups, "rows": layer.rows, "cols": layer.cols}
        graph.add_node(layer.name, op=layer.op, **sizes)
    for (source, target), values in layer_traffic(plan).items():
        graph.add_edge(plan.layers[source].name, plan.layers[target].name, values=values)
    return graph


def _follow(
    nodes: Iterable[ir.Node],
    sources: dict[ir.Value, frozenset[int]],
    plan: Plan,
    index: Mapping[str, int],
    traffic: Traffic,
) -> None:
    """Add the traffic of ``nodes``; ``sources`` are the layers that each value comes from.

    What a body gives comes from its layers and from all that goes in.
    """
    for node in nodes:
        reached = frozenset().union(
            *(sources.get(value, frozenset()) for value in node.inputs if value is not None)
        )
        if is_array_node(node):
            layer = index[layer_of(node)]
            for source in sorted(reached):
                traffic[source, layer] = plan.layers[source].groups * plan.layers[source].cols
            reached = frozenset({layer})
        for body in bodies(node):
            inner = {**sources, **dict.fromkeys(body.inputs, reached)}
            _follow(body, inner, plan, index, traffic)
            reached = reached.union(*(inner.get(value, frozenset()) for value in body.outputs))
        for value in node.outputs:
            sources[value] = reached
