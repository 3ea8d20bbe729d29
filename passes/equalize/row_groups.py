"""Split: rows of a layer read group by group, strong inputs apart from weak ones.

x·W is the sum of the products of some inputs with their rows. Each group of rows is a layer of its
own: its inputs have a DAC range of their own, its columns a scale and an ADC range, so that inputs
which stand out do not coarsen the others. A matrix that takes several arrays above each other is
cut there anyway, so that groups of an array's rows cost no cell and no conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pimc.chip.codebook import codebooks
from pimc.chip.design import Chip
from pimc.errors import PlanError
from pimc.files.weights.weight import Weight
from pimc.passes.equalize.equalize import channels_met
from pimc.passes.graph.constants import add_constant, fresh, names_in_use
from pimc.passes.layout.tile import block_size
from pimc.passes.quantize.quantize import Calibration
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Plan,
    array_nodes,
    layer_of,
    repeated_layers,
)

__all__ = ["RowGroups", "grouped"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowGroups:
    """Read the rows of tall matrices in groups, each with ranges of its own.

    Attributes:
        calibration: how to run the network on calibration data.
    """

    name: ClassVar[str] = "split"
    calibration: Calibration = field(repr=False)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """The plan with a layer for every group."""
        met = channels_met(plan, self.calibration)
        books = codebooks(chip, (layer.mapping for layer in plan.layers))
        groups: dict[str, list[Ints]] = {}
        for layer, book in zip(plan.layers, books, strict=True):
            channels = met.get(layer.name)
            if channels is not None and layer.window is None and layer.input_steps is None:
                height = block_size(chip, book)[0] // book.row_planes
                groups[layer.name] = grouped(channels.peak, height)
        return replace(split(plan, groups), stage=self.name)


def grouped(peak: Array64, most: int) -> list[Ints]:
    """Numbers of the rows of each group, strong inputs first; as few groups as can be.

    Args:
        peak: (rows,) largest magnitude of each input.
        most: rows that an array takes.
    """
    order = np.argsort(-peak, kind="stable")
    first = len(peak) % most or most
    return [np.sort(part) for part in np.split(order, range(first, len(peak), most))]


def split(plan: Plan, groups: Mapping[str, list[Ints]]) -> Plan:
    """The plan with layers cut into groups of rows: another that computes the same.

    Layers that one run may use several times, and those of one group, stay whole.

    Args:
        groups: the numbers of the rows of each group, by layer.
    """
    model = plan.graph.clone()
    repeated = repeated_layers(model)
    layers = {layer.name: layer for layer in plan.layers}
    taken = names_in_use(model) | set(layers)
    parts: dict[str, list[Layer]] = {}
    for node in array_nodes(model):
        layer = layers[layer_of(node)]
        rows = groups.get(layer.name, [])
        if len(rows) > 1 and layer.name not in repeated and layer.groups == 1:
            parts[layer.name] = _put(node, layer, rows, taken)
    made = [part for layer in plan.layers for part in parts.get(layer.name, [layer])]
    provenance: dict[str, Mapping[str, Any]] = {}
    for layer in plan.layers:
        origin = plan.provenance.get(layer.name)
        if origin is not None:
            provenance |= {part.name: origin for part in parts.get(layer.name, [layer])}
    return replace(plan, graph=model, layers=tuple(made), provenance=provenance)


def _put(node: ir.Node, layer: Layer, groups: list[Ints], taken: set[str]) -> list[Layer]:
    """Put array nodes for groups of rows, and their sum, in the place of one; their layers."""
    graph, source, final = node.graph, node.inputs[0], node.outputs[0]
    if not isinstance(graph, ir.Graph) or source is None:
        raise PlanError("has no input, or is in no graph", where=layer.name)
    nodes: list[ir.Node] = []

    def append(op: str, inputs: list[ir.Value], role: str, **attributes: Any) -> ir.Value:
        added = ir.node(op, inputs, attributes, domain=DOMAIN if op == ARRAY_OP else "")
        added.name = added.outputs[0].name = fresh(f"{final.name}/{role}", taken)
        nodes.append(added)
        return added.outputs[0]

    weight = layer.weight.numpy()[0]
    parts: list[Layer] = []
    total: ir.Value | None = None
    for number, rows in enumerate(groups):
        name = fresh(f"{layer.name}/rows{number}", taken)
        numbers = add_constant(graph, fresh(f"{name}/numbers", taken), rows)
        some = append("Gather", [source, numbers], f"input{number}", axis=-1)
        some.type = source.type
        if source.shape is not None:
            some.shape = ir.Shape([*source.shape[:-1], len(rows)])
        value = append(ARRAY_OP, [some], f"rows{number}", layer=name)
        value.type, value.shape = final.type, final.shape
        bias = layer.bias if number == 0 else np.zeros_like(layer.bias)
        part = replace(
            layer,
            name=name,
            output=value.name or "",
            rows=len(rows),
            weight=Weight(np.ascontiguousarray(weight[rows])[None]),
            bias=bias,
        )
        parts.append(part)
        if total is None:
            total = value
        else:
            total = append("Add", [total, value], f"sum{number}")
            total.type, total.shape = final.type, final.shape
    if total is None:
        raise PlanError("has no rows", where=layer.name)
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, [final], [total])
    return parts
