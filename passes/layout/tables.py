"""Tables of tiles and read steps, as the image has them; input vectors of layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.image.cost import vectors
from pimc.image.image import TILE_FIELDS
from pimc.plan.records import Plan


def tile_table(plan: Plan) -> npt.NDArray[np.int32]:
    """(tiles, 9): where every tile lies, as the image has it."""
    table = [
        (t.layer, t.group, t.row, t.rows, t.col, t.cols, p.array, p.row, p.col)
        for t, p in zip(plan.tiles, plan.places, strict=True)
    ]
    return np.asarray(table, np.int32).reshape(-1, len(TILE_FIELDS))


def schedule_table(plan: Plan) -> npt.NDArray[np.int32]:
    """(reads, 2): read step and tile, in the order in which they happen."""
    pairs = [(number, tile) for number, step in enumerate(plan.schedule) for tile in step.tiles]
    return np.asarray(pairs, np.int32).reshape(-1, 2)


def vectors_of_layers(plan: Plan) -> dict[str, int | None]:
    """Input vectors of one sample by layer; None where they are not known."""
    convolves = {layer.name: layer.window is not None for layer in plan.layers}
    return vectors(plan.graph, convolves)
