"""Ways to pack a network: arrays against read steps.

Arrays can be saved by letting tiles share them, which costs read steps. Nothing here needs a
weight's value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pimc.chip.design import Chip
from pimc.image.cost import activations, vector_ns
from pimc.passes.layout.pack import Pack, Packing
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.layout.tables import schedule_table, tile_table, vectors_of_layers
from pimc.plan.records import Plan

__all__ = ["PackingChoice", "pareto_front"]


@dataclass(frozen=True)
class PackingChoice:
    """One way to pack a network.

    Attributes:
        packing: what ``compile --packing`` takes for it.
        steps: read steps one after the other, for one input vector a layer.
        latency_ns: one sample, layer after layer; None where shapes are not known.
    """

    packing: Packing
    arrays: int
    steps: int
    latency_ns: float | None


def pareto_front(plan: Plan, chip: Chip) -> list[PackingChoice]:
    """The choices that no other beats in both arrays and steps, fewest arrays first.

    Args:
        plan: after tiling.
    """
    found = [_choice(plan, chip, "dense")]
    fewest, turns = found[0].arrays, 1
    while True:
        choice = _choice(plan, chip, "parallel" if turns == 1 else turns)
        if choice.arrays <= fewest or turns > len(plan.tiles):
            break
        found.append(choice)
        turns *= 2
    best: list[PackingChoice] = []
    for choice in sorted(found, key=lambda a: (a.arrays, a.steps)):
        if not best or choice.steps < best[-1].steps:
            best.append(choice)
    return best


def _choice(plan: Plan, chip: Chip, packing: Packing) -> PackingChoice:
    packed = replace(Pack(packing)(plan, chip), lines=(None,) * len(plan.tiles))
    scheduled = Scheduling()(packed, chip)
    reads = activations(tile_table(scheduled), schedule_table(scheduled))
    counts = vectors_of_layers(plan)
    latency: float | None = 0.0
    for number, layer in enumerate(plan.layers):
        count = counts[layer.name]
        if latency is None or count is None:
            latency = None
            break
        latency += count * vector_ns(chip, not layer.nonnegative_input, reads.of(number))
    return PackingChoice(packing, packed.arrays, len(scheduled.schedule), latency)
