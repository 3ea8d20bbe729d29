"""Place: arrays onto the chip's cores, those that talk to each other side by side."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import ModelError
from pimc.passes.layout.dataflow import layer_traffic
from pimc.passes.layout.mesh import MOST_CORES, annealed, distances
from pimc.plan.records import Plan

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Number the arrays so that those with much traffic between them share a core.

    Core after core is filled: first the earliest array of the dataflow that has no place yet,
    then always the array that exchanges most values with the core's arrays. Then cores that
    exchange much are moved close to each other on the mesh.
    """

    name: ClassVar[str] = "place"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Renumber ``plan.places``.

        Raises:
            ModelError: the network needs more arrays than the chip has.
        """
        available = chip.hierarchy.arrays
        number: dict[int, int] = {}
        for start, end in pairwise((*plan.phases, plan.arrays)):
            if end - start > available:
                raise ModelError(
                    f"the network needs {end - start} arrays and the chip has {available}: "
                    f"{end - start - available} are missing",
                    where=plan.model_name,
                    hint="use larger arrays, dense packing, more cores, or phases (--phases)",
                )
            order = _order(plan, range(start, end), chip)
            number |= {array: start + position for position, array in enumerate(order)}
        places = tuple(replace(place, array=number[place.array]) for place in plan.places)
        return replace(plan, stage=self.name, places=places)


def _order(plan: Plan, arrays: range, chip: Chip) -> list[int]:
    """The arrays of a phase, core after core.

    What an array exchanges with another depends on the layers in them alone: columns of the one
    layer, shared out evenly to the arrays of the other. So arrays of the same layers are of one
    kind, and kinds are weighed, not pairs of arrays.
    """
    held: dict[int, dict[int, None]] = {}
    for tile, place in zip(plan.tiles, plan.places, strict=True):
        if place.array in arrays:
            held.setdefault(place.array, {})[tile.layer] = None
    spread = Counter(layer for layers in held.values() for layer in layers)
    kinds: dict[tuple[int, ...], deque[int]] = {}
    for array in sorted(held, key=lambda a: (min(held[a]), a)):
        kinds.setdefault(tuple(sorted(held[array])), deque()).append(array)
    waiting = list(kinds.values())
    member = np.zeros((len(kinds), len(plan.layers)))
    for number, layers in enumerate(kinds):
        member[number, list(layers)] = 1.0
    exchange = np.zeros((len(plan.layers), len(plan.layers)))
    for (source, target), values in layer_traffic(plan).items():
        if not (spread[source] and spread[target]):
            continue  # in another phase
        share = values / (spread[source] * spread[target])
        exchange[source, target] += share
        exchange[target, source] += share
    between = member @ exchange @ member.T
    order, kind = _filled(waiting, between, chip.hierarchy.arrays_per_core)
    return _on_mesh(order, kind, between, chip)


def _on_mesh(order: list[int], kind: list[int], between: Array64, chip: Chip) -> list[int]:
    """The arrays of ``order``, those of whole cores moved to where they are better placed."""
    size = chip.hierarchy.arrays_per_core
    cores = -(-len(order) // size)
    if cores > MOST_CORES:
        return order
    counts = np.zeros((cores, len(between)))
    np.add.at(counts, (np.arange(len(order)) // size, np.asarray(kind, np.int64)), 1.0)
    traffic = counts @ between @ counts.T
    np.fill_diagonal(traffic, 0.0)
    # The numbers of arrays follow each other, so that a core in part full stays the last.
    core_of = annealed(traffic, distances(cores, chip.hierarchy.mesh_width), len(order) // size)
    return [array for core in np.argsort(core_of) for array in order[core * size :][:size]]


def _filled(
    waiting: list[deque[int]], between: Array64, arrays_per_core: int
) -> tuple[list[int], list[int]]:
    """Arrays in the order in which they are taken, and their kinds; ``between`` weighs kinds."""
    left = np.array([len(arrays) for arrays in waiting])
    order: list[int] = []
    kinds: list[int] = []
    total = int(left.sum())
    while len(order) < total:
        pull = np.zeros(len(waiting))
        for _ in range(min(arrays_per_core, total - len(order))):
            near = np.where(left > 0, pull, 0.0)
            kind = int(near.argmax()) if near.any() else int((left > 0).argmax())
            order.append(waiting[kind].popleft())
            kinds.append(kind)
            left[kind] -= 1
            pull += between[kind]
    return order, kinds
