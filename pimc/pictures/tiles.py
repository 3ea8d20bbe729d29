"""Where the tiles of an array lie, and how much of their layers' names there is room for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pimc.image.image import Image

__all__ = ["Tile", "suffix_of", "tile_of", "tiles_of"]

#: Width of a letter, as a part of its height.
_LETTER = 0.56
#: How high letters are, as parts of an array: at most, and at least.
_HIGHEST, _LOWEST = 1 / 32, 1 / 72
#: A name of fewer letters says nothing.
_SHORTEST = 4


@dataclass(frozen=True)
class Tile:
    """A block of a layer's matrix on an array: its place in cells, and how it is written there.

    Attributes:
        colour: number of the colour of its layer.
        shown: as much of the name as there is room for.
        turned: the name runs from top to bottom.
        size: height of the letters, in cells.
    """

    row: int
    col: int
    rows: int
    cols: int
    layer: str
    colour: int
    shown: str
    turned: bool
    size: float


def tiles_of(image: Image, array: int) -> list[Tile]:
    """The tiles on one array."""
    suffix = suffix_of(image)
    numbers = np.flatnonzero(image.tiles.array == array)
    return [tile_of(image, int(number), suffix) for number in numbers]


def tile_of(image: Image, number: int, suffix: str) -> Tile:
    """A tile by its number.

    Args:
        suffix: of all names, which is left out.
    """
    tile, place = image.tiles.tile(number), image.tiles.place(number)
    row, col, rows, cols = place.row, place.col, tile.rows, tile.cols
    if image.moves_lines:
        # Its lines need not lie side by side: the box is round all of them.
        lines = image.lines(number)
        (row, rows), (col, cols) = ((int(x.min()), int(np.ptp(x)) + 1) for x in lines)
    name = image.layers[tile.layer].name
    turned = rows > cols
    long, high = (rows, cols) if turned else (cols, rows)
    side = max(image.chip.array.rows, image.chip.array.cols)
    shown = name.removesuffix(suffix)
    fitting = 0.94 * long / (_LETTER * max(len(shown), 1))
    size = min(max(fitting, _LOWEST * side), _HIGHEST * side, 0.8 * high)
    room = int(0.94 * long / (_LETTER * size))
    if len(shown) > room:
        # The end of a name tells more than its beginning, which many layers share.
        shown = f"…{shown[1 - room :]}" if room > _SHORTEST else ""
    return Tile(row, col, rows, cols, name, tile.layer % 8, shown, turned, round(size, 2))


def suffix_of(image: Image) -> str:
    """``.weight`` or the like, where the names of all layers end so."""
    ends = {re.search(r"[./][A-Za-z_]+$", layer.name) for layer in image.layers}
    found = {match[0] if match else "" for match in ends}
    return found.pop() if len(found) == 1 and len(image.layers) > 1 else ""
