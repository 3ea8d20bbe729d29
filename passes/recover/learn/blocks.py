"""Where a network is cut into blocks that are trained one after the other.

A block ends where one value is all that later nodes take from it: after a residual sum, after a
layer of a chain. Y. Li et al. 2021, arXiv 2102.05426, found blocks better than layers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from pimc.plan.records import bodies, is_array_node, layer_of, repeated_layers

__all__ = ["Block", "Segment", "segments"]

#: Layers of a chain that are trained together, as a depthwise one and the one behind it are.
_TOGETHER = 2
#: A part of the network that no single value divides is trained layer by layer where it has more.
_MOST = 12


@dataclass(frozen=True)
class Block:
    """Layers that are trained together.

    Attributes:
        layers: their names.
        inputs: the values that they compute from; none where these are the network's inputs.
        outputs: the values that are held to those of the float network.
    """

    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """A part of the network between two values that divide it.

    Attributes:
        start: the value before it; none where it begins with the network's inputs.
        end: the value behind it; none where the network ends.
        blocks: what is trained in it; none where all of its layers are left alone.
    """

    start: tuple[str, ...]
    end: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Part:
    """Nodes between two cuts, and the values at these."""

    start: tuple[str, ...]
    end: tuple[str, ...]
    nodes: tuple[ir.Node, ...]

    @property
    def layers(self) -> tuple[ir.Node, ...]:
        return tuple(filter(is_array_node, self.nodes))

    @property
    def holds_layers(self) -> bool:
        """Whether there are any, in bodies of control flow, too."""
        return any(is_array_node(inner) for node in self.nodes for inner in _within(node))

    def nodes_behind(self, node: ir.Node) -> tuple[ir.Node, ...]:
        """Those that compute from what ``node`` gives."""
        reached = {value.name for value in node.outputs}
        behind = []
        for one in self.nodes[self.nodes.index(node) + 1 :]:
            if not reached.isdisjoint(_uses(one)):
                behind.append(one)
                reached.update(value.name for value in one.outputs)
        return tuple(behind)

    def joined(self, other: _Part) -> _Part:
        return _Part(self.start, other.end, (*self.nodes, *other.nodes))


def segments(model: ir.Model) -> tuple[Segment, ...]:
    """The network in parts, in the order in which they run.

    Layers that a run may use several times are in no block.
    """
    given = {value.name for value in model.graph.outputs}
    repeated = repeated_layers(model)
    return tuple(
        Segment(part.start, part.end, tuple(_blocks(part, repeated, given)))
        for part in _together(_with_layers(_parts(model)))
    )


def _blocks(part: _Part, repeated: frozenset[str], given: set[str | None]) -> Iterator[Block]:
    trained = [node for node in part.layers if layer_of(node) not in repeated]
    if len(trained) > _MOST:
        for node in trained:
            (x,), (y,) = node.inputs, node.outputs
            yield Block((layer_of(node),), _named([x]), _named([y]))
    elif trained:
        layers = tuple(layer_of(node) for node in trained)
        yield Block(layers, part.start, _ends(part, given))


def _ends(part: _Part, given: set[str | None]) -> tuple[str, ...]:
    """What a block is held to: the value behind it, and what it gives of the network's outputs.

    Where a single layer leads to the network's only output, to what the layer gives: probabilities
    would tell less.
    """
    made = [value.name for node in part.nodes for value in node.outputs]
    outputs = tuple(name for name in made if name and name in given and name not in part.end)
    if not part.end and len(outputs) == 1:
        (*_, last) = part.layers
        if len(part.nodes_behind(last)) + 1 == len(part.nodes) - part.nodes.index(last):
            return _named(last.outputs)
    return (*part.end, *outputs)


def _parts(model: ir.Model) -> list[_Part]:
    """The network cut wherever a single value that layers had a part in goes on."""
    nodes = list(model.graph)
    last: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for name in _uses(node):
            last[name] = number
    marked: set[str] = set()  # what depends on layers, and so differs from the float network
    live: set[str] = set()
    parts: list[_Part] = []
    start: tuple[str, ...] = ()
    begun = 0
    for number, node in enumerate(nodes):
        if any(is_array_node(one) for one in _within(node)) or not marked.isdisjoint(_uses(node)):
            names = [value.name for value in node.outputs if value.name]
            marked.update(names)
            live.update(names)
        live = {name for name in live if last.get(name, -1) > number}
        if len(live) == 1:
            end = tuple(live)
            parts.append(_Part(start, end, tuple(nodes[begun : number + 1])))
            start, begun = end, number + 1
    parts.append(_Part(start, (), tuple(nodes[begun:])))
    return parts


def _with_layers(parts: Sequence[_Part]) -> list[_Part]:
    """Parts without a layer go with the one before; those before the first layer with that."""
    joined = [parts[0]]
    for part in parts[1:]:
        if part.holds_layers and joined[-1].holds_layers:
            joined.append(part)
        else:
            joined[-1] = joined[-1].joined(part)
    return joined


def _together(parts: Sequence[_Part]) -> list[_Part]:
    """Neighbours of a chain in one part."""
    joined = [parts[0]]
    for part in parts[1:]:
        if len(joined[-1].layers) + len(part.layers) <= _TOGETHER:
            joined[-1] = joined[-1].joined(part)
        else:
            joined.append(part)
    return joined


def _within(node: ir.Node) -> Iterator[ir.Node]:
    """The node, and those of its bodies."""
    yield node
    for body in bodies(node):
        yield from body.all_nodes()


def _uses(node: ir.Node) -> set[str]:
    """Names that the node or its bodies read."""
    return {value.name for one in _within(node) for value in one.inputs if value and value.name}


def _named(values: Sequence[ir.Value | None]) -> tuple[str, ...]:
    return tuple(value.name for value in values if value is not None and value.name)
