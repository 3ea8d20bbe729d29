"""Where weights sit: arrays with the tiles on them and the levels of their cells."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pimc.extras import require
from pimc.files.weights.packing import bits_per_cell, unpack_levels
from pimc.image.image import Image
from pimc.pictures.tiles import suffix_of, tile_of
from pimc.reports.blocks import Map, Maps

__all__ = ["array_maps", "colours"]

#: Arrays that are drawn; more would make a page that nobody scrolls through.
MOST_ARRAYS = 256
#: Viridis at nine places (matplotlib, CC0): even steps for every kind of colour vision.
_VIRIDIS = np.array(
    [
        (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
        (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
    ]
)  # fmt: skip
#: What a tile takes on the page, with its name.
_TILE_BYTES = 190
_UNUSED = (236, 236, 238)
_REWRITTEN = (213, 94, 0)


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
        budget: bytes that arrays may take. Half of them are for pictures of levels: arrays beyond
            show their tiles alone. What is beyond the whole is not drawn, but for the first array.
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
        are = "arrays are" if bare > 1 else "array is"
        notes.append(f"{bare:,} {are} drawn without the levels of the cells, for size.")
    if image.arrays > len(maps):
        notes.append(f"The first {len(maps):,} of {image.arrays:,} arrays are drawn.")
    return Maps(maps=maps, colours=table, title="Where weights sit", note=" ".join(notes))


def _maps(image: Image, budget: int, rewritten: npt.NDArray[np.int64] | None) -> Iterator[Map]:
    rows, cols = image.chip.array.rows, image.chip.array.cols
    order = np.argsort(image.tiles.array, kind="stable")
    bounds = np.searchsorted(image.tiles.array[order], np.arange(image.arrays + 1))
    suffix, pictures = suffix_of(image), budget // 2
    for array in range(min(image.arrays, MOST_ARRAYS)):
        part = slice(bounds[array], bounds[array + 1])
        tiles = [tile_of(image, int(number), suffix) for number in order[part]]
        changed = "" if rewritten is None else _changed(rewritten, array, rows, cols)
        budget -= _TILE_BYTES * len(tiles) + len(changed)
        if array and budget < 0:
            return
        levels = _levels(image, array, order[part]) if pictures > 0 and _fits(image) else ""
        pictures -= len(levels)
        budget -= len(levels)
        names = list(dict.fromkeys(tile.layer for tile in tiles))
        used = sum(tile.rows * tile.cols for tile in tiles) / (rows * cols)
        text = f"Array {array}: {', '.join(names)}; {100 * used:.1f} % of {rows}×{cols} cells used"
        yield Map(array, rows, cols, tiles, levels, changed, text)


def _fits(image: Image) -> bool:
    """Whether a picture's palette has a colour for every level, and one for unused cells."""
    return image.chip.cell.levels < 256


def _palette(image: Image) -> npt.NDArray[np.uint8]:
    return colours(min(image.chip.cell.levels, 255))


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
    # Unused cells are seen through: the page has a ground for light and for dark.
    return _png(shown, _palette(image), clear=levels)


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
