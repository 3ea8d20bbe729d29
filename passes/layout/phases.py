"""Networks larger than the chip: layers cut into phases that are written one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from pimc.errors import ModelError
from pimc.plan.records import (
    Plan,
    bodies,
    is_array_node,
    layer_of,
)

__all__ = ["cut"]


def cut(plan: Plan, arrays_of: Callable[[Sequence[int]], int], available: int) -> list[list[int]]:
    """Layers of each phase, in the order in which they run; as many a phase as the chip holds.

    Args:
        arrays_of: arrays that layers take, by their numbers.
        available: arrays of the chip.

    Raises:
        ModelError: layers that cannot be parted take more arrays than there are.
    """
    phases: list[list[int]] = []
    for unit in _units(plan):
        if phases and arrays_of([*phases[-1], *unit]) <= available:
            phases[-1] += unit
            continue
        needed = arrays_of(unit)
        if needed > available:
            names = ", ".join(plan.layers[layer].name for layer in unit)
            raise ModelError(
                f"{names}: needed at once on {needed} arrays, and the chip has {available}: "
                f"{needed - available} are missing",
                where=plan.model_name,
                hint="use larger arrays or a chip with more cores",
            )
        phases.append(list(unit))
    return phases


def _units(plan: Plan) -> list[list[int]]:
    """Layers in order, those together that must be on the chip at once.

    A body may run again and again, and a layer used again must still be there, so all between its
    uses goes with it.
    """
    index = {layer.name: number for number, layer in enumerate(plan.layers)}
    units: list[list[int]] = []
    for node in plan.graph.graph:
        used = [index[name] for name in _layers_of(node)]
        if not used:
            continue
        first = next((k for k, unit in enumerate(units) if set(unit) & set(used)), len(units))
        merged = [layer for unit in units[first:] for layer in unit] + used
        units[first:] = [list(dict.fromkeys(merged))]
    return units


def _layers_of(node: ir.Node) -> list[str]:
    """Names of the layers that a node stands for or that its bodies hold."""
    if is_array_node(node):
        return [layer_of(node)]
    return [name for body in bodies(node) for inner in body for name in _layers_of(inner)]
