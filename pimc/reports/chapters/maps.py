"""Where weights sit: arrays with the tiles on them and the levels of their cells."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pimc.extras import require
from pimc.files.weights.packing import bits_per_cell, unpack_levels
from pimc.image.image import Image
from pimc.reports.blocks import Map, Maps, Tile

__all__ = ["array_maps", "colours", "tiles_of"]

#: Arrays that are drawn; more would make a page that nobody scrolls through.
MOST_ARRAYS = 256
#: Viridis at nine places (matplotlib, CC0): even steps for every kind of colour vision.
_VIRIDIS = np.array(
    [
        (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
        (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
    ]
)  # fmt: skip
_UNUSED = (236, 236, 238)
_REWRITTEN = (213, 94, 0)
#: Width of a letter, as a part of its height.
_LETTER = 0.56
#: How high letters are, as parts of an array: at most, and at least.
_HIGHEST, _LOWEST = 1 / 32, 1 / 72
#: A name of fewer letters says nothing.
_SHORTEST = 4


def colours(levels: int) -> npt.NDArray[np.uint8]:
    """(levels + 1, 3) the colours of levels, each another, and that of unused cells."""
    place = np.linspace(0, len(_VIRIDIS) - 1, levels)
    known = np.arange(len(_VIRIDIS))
    ramp = np.stack([np.interp(place, known, channel) for channel in _VIRIDIS.T], axis=1)
    table = np.concatenate([ramp.round(), [_UNUSED]]).astype(np.uint8)
    seen: set[tuple[int, ...]] = set()
    for colour in table:
        # The page tells a cell's level by its colour; of many levels two may be rounded to one.
        while tuple(colour.tolist()) in seen:
            colour[2] += 1
        seen.add(tuple(colour.tolist()))
    return table


def array_maps(image: Image, budget: int, rewritten: npt.NDArray[np.int64] | None = None) -> Maps:
    """The arrays of an image.

    Args:
        budget: bytes that pictures of levels may take; arrays beyond show their tiles alone.
        rewritten: addresses of cells that a recovery rewrote.

    Raises:
        MissingLibraryError: Pillow is not installed.
    """
    require("PIL", what="a report of an image")
    maps = list(_maps(image, budget, rewritten))
    table = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in _palette(image).tolist()]
    bare = sum(not one.levels for one in maps)
    notes = [
        "Colours are levels, from the lowest conductance (dark) to the highest (bright); "
        "grey cells hold no weight."
    ]
    if bare and _fits(image):
        notes.append(f"{bare:,} arrays are drawn without the levels of their cells, for size.")
    if image.arrays > len(maps):
        notes.append(f"The first {len(maps):,} of {image.arrays:,} arrays are drawn.")
    return Maps(maps=maps, colours=table, title="Where weights sit", note=" ".join(notes))


def tiles_of(image: Image, array: int) -> list[Tile]:
    """The tiles on one array."""
    suffix = _suffix(image)
    numbers = np.flatnonzero(image.tiles.array == array)
    return [_tile(image, int(number), suffix) for number in numbers]


def _maps(image: Image, budget: int, rewritten: npt.NDArray[np.int64] | None) -> Iterator[Map]:
    rows, cols = image.chip.array.rows, image.chip.array.cols
    order = np.argsort(image.tiles.array, kind="stable")
    bounds = np.searchsorted(image.tiles.array[order], np.arange(image.arrays + 1))
    suffix = _suffix(image)
    for array in range(min(image.arrays, MOST_ARRAYS)):
        part = slice(bounds[array], bounds[array + 1])
        tiles = [_tile(image, int(number), suffix) for number in order[part]]
        levels = _levels(image, array, order[part]) if budget > 0 and _fits(image) else ""
        changed = "" if rewritten is None else _changed(rewritten, array, rows, cols)
        budget -= len(levels) + len(changed)
        names = list(dict.fromkeys(tile.layer for tile in tiles))
        used = sum(tile.rows * tile.cols for tile in tiles) / (rows * cols)
        text = f"Array {array}: {', '.join(names)}; {100 * used:.1f} % of {rows}×{cols} cells used"
        yield Map(array, rows, cols, tiles, levels, changed, text)


def _fits(image: Image) -> bool:
    """Whether a picture's palette has a colour for every level, and one for unused cells."""
    return image.chip.cell.levels < 256


def _palette(image: Image) -> npt.NDArray[np.uint8]:
    return colours(min(image.chip.cell.levels, 255))


def _tile(image: Image, number: int, suffix: str) -> Tile:
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


def _suffix(image: Image) -> str:
    """``.weight`` or the like, where the names of all layers end so."""
    ends = {re.search(r"[./][A-Za-z_]+$", layer.name) for layer in image.layers}
    found = {match[0] if match else "" for match in ends}
    return found.pop() if len(found) == 1 and len(image.layers) > 1 else ""


def _levels(image: Image, array: int, tiles: npt.NDArray[np.int64]) -> str:
    """The levels of one array's cells; only its own are unpacked."""
    chip = image.chip
    rows, cols, levels = chip.array.rows, chip.array.cols, chip.cell.levels
    packed = image.packed_levels[array : array + 1]
    held = unpack_levels(packed, bits_per_cell(levels), rows * cols).reshape(rows, cols)
    shown = np.full((rows, cols), levels, np.uint8)
    for number in tiles.tolist():
        where = np.ix_(*image.lines(number))
        shown[where] = held[where]
    return _png(shown, _palette(image))


def _changed(rewritten: npt.NDArray[np.int64], array: int, rows: int, cols: int) -> str:
    inside = rewritten[rewritten // (rows * cols) == array] % (rows * cols)
    if not len(inside):
        return ""
    mask = np.zeros(rows * cols, np.uint8)
    mask[inside] = 1
    return _png(mask.reshape(rows, cols), np.array([(0, 0, 0), _REWRITTEN], np.uint8), clear=0)


def _png(values: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8], **more: int) -> str:
    """A picture as base64; the value ``clear`` is seen through."""
    from PIL import Image as Picture

    picture = Picture.fromarray(values)  # of bytes: grey, until it has a palette
    picture.putpalette(palette.reshape(-1).tolist())
    stream = io.BytesIO()
    options = {"transparency": more["clear"]} if "clear" in more else {}
    picture.save(stream, "PNG", optimize=True, **options)
    return base64.b64encode(stream.getvalue()).decode()
