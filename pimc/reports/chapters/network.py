"""The network as a graph: array layers and the digital operators between them, from top to bottom.

Operators that follow each other without a branch share a box. Boxes stand in ranks, each below all
that it takes inputs from; an edge that passes ranks has a place in each of them, so that none runs
through a box. Within ranks, boxes stand below the mean place of what they take inputs from (the
barycentre heuristic, doi:10.1109/TSMC.1981.4308636).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING

from pimc.image.image import Image
from pimc.plan.records import bodies, is_array_node, layer_of
from pimc.reports.blocks import Edge, Graph, Node

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["network_graph"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 196.0, 42.0, 14.0, 26.0, 12.0
_LETTERS = 26
#: Boxes beyond which a drawing shows nothing.
MOST_BOXES = 600


@dataclass
class _Box:
    """What becomes a box, or the place of an edge that passes a rank (``edge``)."""

    kind: str
    names: list[str] = field(default_factory=list)
    detail: str = ""
    rank: int = 0
    before: list[int] = field(default_factory=list)
    x: float = 0.0

    @property
    def width(self) -> float:
        return _EDGE if self.kind == "edge" else _WIDTH


def network_graph(image: Image) -> Graph | None:
    """The graph of an image's network; None where there are too many boxes to draw."""
    boxes = _boxes(image)
    if len(boxes) > MOST_BOXES:
        return None
    for box in boxes:
        box.rank = 1 + max((boxes[one].rank for one in box.before), default=-1)
    shown = len(boxes)
    links = _with_places(boxes)
    ranks = _ordered(boxes, links)
    left = min(box.x - box.width / 2 for box in boxes)
    right = max(box.x + box.width / 2 for box in boxes)
    nodes = [_node(box, left) for box in boxes[:shown]]
    edges = [Edge(_path(boxes, link, left)) for link in links]
    arrays = sum(box.kind == "array" for box in boxes)
    digital = sum(len(box.names) for box in boxes if box.kind == "digital")
    text = f"{arrays:,} layers on arrays, {digital:,} digital operators"
    return Graph(
        width=round(right - left + 4, 1),
        height=round(len(ranks) * (_HEIGHT + _GAP_Y), 1),
        nodes=nodes,
        edges=edges,
        text=text,
        title="The network",
        note=f"{text}. Operators that follow each other share a box.",
    )


def _boxes(image: Image) -> list[_Box]:
    """The boxes in the order in which they run, each with those that it takes inputs from."""
    graph = image.graph().graph
    layers = {layer.name: layer for layer in image.layers}
    boxes = [_Box("input", [value.name or ""], _shape(value)) for value in graph.inputs]
    made = {value.name: number for number, value in enumerate(graph.inputs)}
    nodes = [node for node in graph if node.op_type != "Constant"]
    uses = Counter(name for node in nodes for name in _taken(node))
    uses.update(value.name for value in graph.outputs)
    for node in nodes:
        before = list(dict.fromkeys(made[name] for name in _taken(node) if name in made))
        if is_array_node(node):
            layer = layers[layer_of(node)]
            cells = f"{layer.groups} × " * (layer.groups > 1) + f"{layer.rows} × {layer.cols}"
            boxes.append(_Box("array", [layer.name], f"{layer.op}, {cells}", before=before))
            at = len(boxes) - 1
        elif _joins(node, boxes, before, made, uses):
            at = before[0]
            boxes[at].names.append(node.op_type)
        else:
            boxes.append(_Box("digital", [node.op_type], before=before))
            at = len(boxes) - 1
        made |= {output.name: at for output in node.outputs}
    for value in graph.outputs:
        source = [made[value.name]] if value.name in made else []
        boxes.append(_Box("output", [value.name or ""], _shape(value), before=source))
    return boxes


def _joins(
    node: ir.Node,
    boxes: Sequence[_Box],
    before: Sequence[int],
    made: Mapping[str | None, int],
    uses: Mapping[str | None, int],
) -> bool:
    """Whether a digital node goes on from a digital box alone, and is all that does."""
    inputs = [name for name in _taken(node) if name in made]
    return (
        len(before) == 1
        and boxes[before[0]].kind == "digital"
        and all(uses[name] == 1 for name in inputs)
    )


def _taken(node: ir.Node) -> list[str | None]:
    """The values that a node and its bodies take, each once."""
    inner = [one for body in bodies(node) for one in body.all_nodes()]
    found = [value.name for one in (node, *inner) for value in one.inputs if value is not None]
    return list(dict.fromkeys(found))


def _shape(value: ir.Value) -> str:
    return "" if value.shape is None else " × ".join(str(dim) for dim in value.shape)


def _with_places(boxes: list[_Box]) -> list[tuple[int, ...]]:
    """The edges, each with the places that it takes in ranks between its ends."""
    links = []
    for at in range(len(boxes)):
        for source in boxes[at].before:
            link = [source]
            for rank in range(boxes[source].rank + 1, boxes[at].rank):
                boxes.append(_Box("edge", rank=rank, before=[link[-1]]))
                link.append(len(boxes) - 1)
            links.append((*link, at))
    return links


def _ordered(boxes: list[_Box], links: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The boxes rank by rank from left to right, with their places."""
    ranks: list[list[int]] = [[] for _ in range(1 + max(box.rank for box in boxes))]
    for number, box in enumerate(boxes):
        ranks[box.rank].append(number)
    above: dict[int, list[int]] = {number: [] for number in range(len(boxes))}
    below: dict[int, list[int]] = {number: [] for number in range(len(boxes))}
    for one, two in (pair for link in links for pair in itertools.pairwise(link)):
        above[two].append(one)
        below[one].append(two)
    for rank in ranks:
        _place(boxes, rank, above)
    # Once up and once down again: what stands alone in its rank comes to stand between others.
    for rank in reversed(ranks):
        _place(boxes, rank, below)
    for rank in ranks:
        _place(boxes, rank, above)
    return ranks


def _place(boxes: Sequence[_Box], rank: list[int], beside: Mapping[int, Sequence[int]]) -> None:
    """Put the boxes of a rank below the mean of their neighbours, as near as there is room."""
    wanted = {
        number: mean(boxes[one].x for one in beside[number]) if beside[number] else boxes[number].x
        for number in rank
    }
    rank.sort(key=wanted.__getitem__)
    right = -math.inf
    for number in rank:
        box = boxes[number]
        box.x = max(wanted[number], right + _GAP_X + box.width / 2)
        right = box.x + box.width / 2
    # Room was made to the right alone: the rank goes back by the mean of what it was moved.
    moved = mean(boxes[number].x - wanted[number] for number in rank)
    for number in rank:
        boxes[number].x -= moved


def _node(box: _Box, left: float) -> Node:
    names = [f"{name} × {count}" if count > 1 else name for name, count in _runs(box.names)]
    label = " · ".join(names)
    return Node(
        x=round(box.x - left - box.width / 2 + 2, 1),
        y=round(box.rank * (_HEIGHT + _GAP_Y) + 2, 1),
        width=_WIDTH,
        height=_HEIGHT,
        kind=box.kind,
        label=_cut(label),
        below=_cut(box.detail),
        text=f"{label}: {box.detail}" if box.detail else label,
    )


def _runs(names: Sequence[str]) -> list[tuple[str, int]]:
    """Names that follow each other with how often each does."""
    return [(name, len(list(same))) for name, same in itertools.groupby(names)]


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _path(boxes: Sequence[_Box], link: tuple[int, ...], left: float) -> str:
    """From the lower edge of the first box to the upper edge of the last."""
    parts = []
    for one, two in itertools.pairwise(link):
        high, low = boxes[one], boxes[two]
        x1, x2 = high.x - left + 2, low.x - left + 2
        # Through the height of a rank in which it only passes it runs straight down.
        y0, y1 = (high.rank * (_HEIGHT + _GAP_Y) + 2 + part for part in (0, _HEIGHT))
        y2 = low.rank * (_HEIGHT + _GAP_Y) + 2
        middle = (y1 + y2) / 2
        start = f"M{x1:.1f} {y0 if high.kind == 'edge' else y1:.1f}"
        parts.append(
            f"{start}V{y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        )
    return "".join(parts)
