"""Place: arrays onto the chip's cores, those that talk to each other side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from pimc.chip import Chip
from pimc.errors import ModelError
from pimc.plan import Plan, bodies, is_array_node, layer_of

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class Placement:
    """Number the arrays so that those with much traffic between them share a core.

    Core after core is filled: first the earliest array of the dataflow that has no place yet,
    then always the array that exchanges most values with the core's arrays.
    """

    name: ClassVar[str] = "place"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Renumber ``plan.places``.

        Raises:
            ModelError: the network needs more arrays than the chip has.
        """
        available = chip.hierarchy.cores * chip.hierarchy.arrays_per_core
        if plan.arrays > available:
            raise ModelError(
                f"the network needs {plan.arrays} arrays and the chip has {available}: "
                f"{plan.arrays - available} are missing",
                where=plan.model_name,
                hint="use larger arrays, dense packing, or a chip with more cores",
            )
        order = _order(_array_traffic(plan), chip.hierarchy.arrays_per_core)
        number = {array: position for position, array in enumerate(order)}
        places = tuple(replace(place, array=number[place.array]) for place in plan.places)
        return replace(plan, stage=self.name, places=places)


def layer_graph(plan: Plan) -> nx.DiGraph[int]:
    """Which layer's output reaches which layer's input through digital operators only.

    Nodes are layer numbers; an edge's ``values`` counts the producer's columns.
    """
    import networkx as nx

    index = {layer.name: number for number, layer in enumerate(plan.layers)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(plan.layers)))
    _follow(plan.graph.graph, {}, plan, index, graph)
    return graph


def _follow(
    nodes: Iterable[ir.Node],
    sources: dict[ir.Value, frozenset[int]],
    plan: Plan,
    index: Mapping[str, int],
    graph: nx.DiGraph[int],
) -> None:
    """Add the edges of ``nodes``; ``sources`` are the layers that each value comes from.

    What a body gives comes from its layers and from all that goes in.
    """
    for node in nodes:
        reached = frozenset().union(
            *(sources.get(value, frozenset()) for value in node.inputs if value is not None)
        )
        if is_array_node(node):
            layer = index[layer_of(node)]
            for source in sorted(reached):
                columns = plan.layers[source].groups * plan.layers[source].cols
                graph.add_edge(source, layer, values=columns)
            reached = frozenset({layer})
        for body in bodies(node):
            inner = {**sources, **dict.fromkeys(body.inputs, reached)}
            _follow(body, inner, plan, index, graph)
            reached = reached.union(*(inner.get(value, frozenset()) for value in body.outputs))
        for value in node.outputs:
            sources[value] = reached


def _array_traffic(plan: Plan) -> nx.Graph[int]:
    import networkx as nx

    arrays_of: dict[int, list[int]] = {}
    for tile, place in zip(plan.tiles, plan.places, strict=True):
        held = arrays_of.setdefault(tile.layer, [])
        if place.array not in held:
            held.append(place.array)
    traffic: nx.Graph[int] = nx.Graph()
    for layer in range(len(plan.layers)):
        traffic.add_nodes_from(arrays_of.get(layer, []))
    for source, target, values in layer_graph(plan).edges(data="values"):
        senders, receivers = arrays_of[source], arrays_of[target]
        share = values / (len(senders) * len(receivers))
        for sender in senders:
            for receiver in receivers:
                if sender != receiver:
                    known = traffic.get_edge_data(sender, receiver, {"values": 0.0})["values"]
                    traffic.add_edge(sender, receiver, values=known + share)
    return traffic


def _order(traffic: nx.Graph[int], arrays_per_core: int) -> list[int]:
    waiting = dict.fromkeys(traffic.nodes)
    order: list[int] = []
    while waiting:
        pull: dict[int, float] = {}
        for _ in range(min(arrays_per_core, len(waiting))):
            near = [array for array in pull if array in waiting]
            chosen = max(near, key=lambda a: pull[a]) if near else next(iter(waiting))
            del waiting[chosen]
            order.append(chosen)
            for other, edge in traffic[chosen].items():
                pull[other] = pull.get(other, 0.0) + edge["values"]
    return order
