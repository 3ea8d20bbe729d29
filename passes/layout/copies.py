"""Copies of the layers that take longest, and the buffers between layers of a pipeline.

Arrays can be spent: each copy of a layer computes a part of every sample. Nothing here needs a
weight's value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import onnx_ir as ir

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.cost import activations, vector_ns
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.layout.tables import schedule_table, tile_table, vectors_of_layers
from pimc.plan.records import (
    Layer,
    Plan,
    array_nodes,
    layer_of,
)

__all__ = ["Copies", "PipelineLayer", "pipeline_layers", "share_out"]


@dataclass(frozen=True)
class PipelineLayer:
    """A layer as one stage of a pipeline.

    Attributes:
        arrays: arrays of the layer alone, read in one step.
        busy_ns: time that it takes for one sample; None where shapes are not known.
        buffer_values: inputs that must be there before its first output; None likewise.
        lines: parts of a sample that copies can share out: lines of a convolution's outputs, a
            product's vectors; 1 of a layer that is used several times.
        in_body: whether it runs in a body of control flow, nobody knows how often.
    """

    layer: str
    arrays: int
    busy_ns: float | None
    buffer_values: int | None
    lines: int = 1
    in_body: bool = False

    def interval_ns(self, copies: int) -> float:
        """Time for one sample with so many copies; infinite where it is not known."""
        if self.busy_ns is None:
            return inf
        return self.busy_ns * -(-self.lines // copies) / self.lines

    def more(self, copies: int) -> int | None:
        """The next number of copies that takes less time; None where there is none."""
        lines = -(-self.lines // copies)
        return -(-self.lines // (lines - 1)) if lines > 1 else None


@dataclass(frozen=True)
class Copies:
    """How often each stage is there, and what comes of it.

    Attributes:
        copies: one entry a stage.
        arrays: of all copies.
        interval_ns: time from one sample to the next, set by the slowest stage; None where that
            may be one in a body of control flow.
    """

    copies: tuple[int, ...]
    arrays: int
    interval_ns: float | None


def pipeline_layers(plan: Plan, chip: Chip) -> list[PipelineLayer]:
    """Every layer with arrays of its own, all of them read at once.

    Args:
        plan: after tiling.
    """
    counts, inputs, lines = vectors_of_layers(plan), _inputs(plan), _lines(plan)
    arrays = Counter(tile.layer for tile in plan.tiles)
    main = plan.graph.graph
    in_bodies = {layer_of(node) for node in array_nodes(plan.graph) if node.graph is not main}
    single = Scheduling()(
        replace(Pack("single")(plan, chip), lines=(None,) * len(plan.tiles)), chip
    )
    reads = activations(tile_table(single), schedule_table(single))
    found = []
    for number, layer in enumerate(plan.layers):
        name, count = layer.name, counts[layer.name]
        signed = not layer.nonnegative_input
        busy = None if count is None else count * vector_ns(chip, signed, reads.of(number))
        buffer = _buffer(layer, inputs.get(name))
        inside = name in in_bodies
        found.append(PipelineLayer(name, arrays[number], busy, buffer, lines.get(name, 1), inside))
    return found


def share_out(found: Sequence[PipelineLayer], budget: int) -> Copies:
    """Copies of the slowest stage again and again, as long as there are arrays for one more.

    Stages in bodies of control flow are there once: how long they take is not known.

    Raises:
        UsageError: shapes are not known, or the budget does not hold one copy of each stage.
    """
    number, used = [1] * len(found), sum(stage.arrays for stage in found)
    timed = [k for k, stage in enumerate(found) if not stage.in_body]
    if any(found[k].busy_ns is None for k in timed):
        raise UsageError(
            "how often each layer runs is not known",
            hint="export the model with fixed sizes, all but that of the batch",
        )
    if used > budget:
        raise UsageError(
            f"one copy of every layer takes {used} arrays, the budget is {budget}",
            hint=f"give {used} or more",
        )
    interval = 0.0
    while timed:
        # Of stages that are equally slow, the first.
        slowest = max(timed, key=lambda k: found[k].interval_ns(number[k]))
        stage, interval = found[slowest], found[slowest].interval_ns(number[slowest])
        more = stage.more(number[slowest])
        added = 0 if more is None else (more - number[slowest]) * stage.arrays
        if more is None or used + added > budget or not interval:
            break
        number[slowest], used = more, used + added
    return Copies(tuple(number), used, interval if len(timed) == len(found) else None)


def _inputs(plan: Plan) -> dict[str, tuple[int, ...] | None]:
    """Shape of what each layer gets where it is used first, without the batch, if it is known."""
    found: dict[str, tuple[int, ...] | None] = {}
    for node in array_nodes(plan.graph):
        found.setdefault(layer_of(node), _sizes(node.inputs[0]))
    return found


def _lines(plan: Plan) -> dict[str, int]:
    """What copies of each layer can share out, of layers that are used once."""
    nodes = array_nodes(plan.graph)
    uses = Counter(map(layer_of, nodes))
    convolves = {layer.name: layer.window is not None for layer in plan.layers}
    found = {}
    for node in nodes:
        sizes, name = _sizes(node.outputs[0]), layer_of(node)
        if sizes is not None and _sizes(node.inputs[0]) is not None and uses[name] == 1:
            found[name] = max(1, sizes[1] if convolves[name] else prod(sizes[:-1]))
    return found


def _sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None:
        return None
    sizes = [dim for dim in list(value.shape)[1:] if isinstance(dim, int)]
    return tuple(sizes) if len(sizes) == len(value.shape) - 1 else None


def _buffer(layer: Layer, sizes: tuple[int, ...] | None) -> int | None:
    """Of a convolution the lines that its window covers, of a product one vector."""
    if layer.window is None:
        return layer.rows
    if sizes is None:
        return None
    channels, length, *rest = sizes
    covered = (layer.window.kernel[0] - 1) * layer.window.dilations[0] + 1
    return channels * min(covered, length) * prod(rest)
