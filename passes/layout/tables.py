"""Tables of tiles and read steps, as the image has them."""

from __future__ import annotations

import numpy as np

from pimc.image.format.tables import Schedule, Tiles
from pimc.plan.records import Plan


def tile_table(plan: Plan) -> Tiles:
    """Where every tile lies, as the image has it."""
    return Tiles.placed(plan.tiles, plan.places)


def schedule_table(plan: Plan) -> Schedule:
    """Read step and tile, in the order in which they happen."""
    pairs = [(number, tile) for number, step in enumerate(plan.schedule) for tile in step.tiles]
    return Schedule.of(np.asarray(pairs, np.int32).reshape(-1, 2))
