"""Tables of tiles and read steps, as the image has them; input vectors of layers."""

from __future__ import annotations

import numpy as np

from pimc.image.cost import vectors
from pimc.image.format.tables import Schedule, Tiles
from pimc.plan.records import Plan


def tile_table(plan: Plan) -> Tiles:
    """Where every tile lies, as the image has it."""
    return Tiles.placed(plan.tiles, plan.places)


def schedule_table(plan: Plan) -> Schedule:
    """Read step and tile, in the order in which they happen."""
    pairs = [(number, tile) for number, step in enumerate(plan.schedule) for tile in step.tiles]
    return Schedule.of(np.asarray(pairs, np.int32).reshape(-1, 2))


def vectors_of_layers(plan: Plan) -> dict[str, int | None]:
    """Input vectors of one sample by layer; None where they are not known."""
    convolves = {layer.name: layer.window is not None for layer in plan.layers}
    return vectors(plan.graph, convolves)
