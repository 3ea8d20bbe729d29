"""Rules of tiles: where they lie in layers and on arrays, and when they are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pimc.image.content import ImageContent

__all__ = [
    "lines_lie_in_arrays",
    "tiles_are_of_layers",
    "tiles_are_read_once",
    "tiles_cover_layers",
    "tiles_do_not_overlap",
    "tiles_lie_in_arrays",
]

Int64 = npt.NDArray[np.int64]


def tiles_are_of_layers(image: ImageContent) -> Iterator[str]:
    """Tiles are of layers and groups that there are."""
    tiles, layers = image.tiles, image.layers
    number = _first(tiles.layer >= len(layers))
    if number is not None:
        yield f"tensor tiles: tile {number} is of layer {tiles.layer[number]} of {len(layers)}"
        return
    groups = np.array([layer.groups for layer in layers], np.int64)
    number = _first(tiles.group >= groups[tiles.layer])
    if number is not None:
        yield f"tensor tiles: tile {number} is of group {tiles.group[number]}, which is none"


def tiles_cover_layers(image: ImageContent) -> Iterator[str]:
    """The tiles of a layer are its row blocks, cut into columns: they cover each cell once."""
    tiles = image.tiles
    columns = (tiles.layer, tiles.group, tiles.row, tiles.rows, tiles.col, tiles.cols)
    layer, group, row, rows, col, cols = (column.astype(np.int64) for column in columns)
    high, wide, block = (
        np.array([getattr(each, name) for each in image.layers], np.int64)
        for name in ("wordlines", "bitlines", "row_block")
    )
    fits = (row % block[layer] == 0) & (rows == np.minimum(block[layer], high[layer] - row))
    number = _first(~fits | (cols < 1))
    if number is not None:
        yield f"tensor tiles: tile {number} is no block of its layer's rows"
        return
    order = np.lexsort((col, row, group, layer))
    layer, group, row, col, end = (part[order] for part in (layer, group, row, col, col + cols))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (np.diff(layer) != 0) | (np.diff(group) != 0) | (np.diff(row) != 0)
    before = np.where(starts, 0, np.roll(end, 1))
    number = _first(col != before)
    if number is None:
        last = np.roll(starts, -1)
        number = _first(last & (end != wide[layer]))
    if number is not None:
        yield (
            f"tensor tiles: they do not cover layer {layer[number]} once: "
            f"see its group {group[number]}, row {row[number]}, column {col[number]}"
        )
        return
    found = np.bincount(layer[starts], minlength=len(image.layers))
    for index, each in enumerate(image.layers):
        if int(found[index]) != each.groups * each.row_blocks:
            yield f"tensor tiles: they leave out rows of layer {index}"
            return


def tiles_lie_in_arrays(image: ImageContent) -> Iterator[str]:
    """Tiles lie in arrays that there are, and inside them."""
    tiles, shape = image.tiles, image.chip.array
    number = _first(tiles.array >= image.arrays)
    if number is not None:
        yield f"tensor tiles: tile {number} lies in array {tiles.array[number]} of {image.arrays}"
    below = tiles.array_row.astype(np.int64) + tiles.rows > shape.rows
    beside = tiles.array_col.astype(np.int64) + tiles.cols > shape.cols
    number = _first(below | beside)
    if number is not None:
        yield f"tensor tiles: tile {number} reaches beyond its array of {shape.rows}x{shape.cols}"


def lines_lie_in_arrays(image: ImageContent) -> Iterator[str]:
    """A moved tile has as many lines of its array as rows and columns, all of them different."""
    if not image.moves_lines:
        return
    tiles, shape = image.tiles, image.chip.array
    offsets = image.line_offsets.astype(np.int64)
    length = len(image.tensors["lines"])
    ends = offsets + tiles.rows + tiles.cols
    number = _first((offsets < -1) | ((offsets >= 0) & (ends > length)))
    if number is not None:
        yield f"tensor line_offsets: that of tile {number} does not lie in lines"
        return
    for moved in np.flatnonzero(offsets >= 0).tolist():
        for lines, count in zip(image.lines(moved), (shape.rows, shape.cols), strict=True):
            if lines.max(initial=0) >= count or len(np.unique(lines)) != len(lines):
                yield f"tensor lines: those of tile {moved} are not different lines of its array"
                return


def tiles_do_not_overlap(image: ImageContent) -> Iterator[str]:
    """No cell belongs to two tiles."""
    tiles = image.tiles
    shared = np.flatnonzero(np.bincount(tiles.array, minlength=image.arrays) > 1)
    order = np.argsort(tiles.array, kind="stable")
    places = tiles.array[order]
    for array in shared.tolist():
        inside = order[np.searchsorted(places, array) : np.searchsorted(places, array, "right")]
        if _moved_overlap(image, inside) if image.moves_lines else _overlap(image, inside):
            yield f"tensor tiles: two tiles hold the same cells of array {array}"
            return


def _overlap(image: ImageContent, numbers: npt.NDArray[np.integer]) -> bool:
    """Whether tiles of one array have cells in common, counted on the grid of their edges."""
    tiles = image.tiles.chosen(numbers)
    grid, corners = [], []
    for first, size in ((tiles.array_row, tiles.rows), (tiles.array_col, tiles.cols)):
        edges, place = np.unique(np.concatenate([first, first + size]), return_inverse=True)
        grid.append(len(edges))
        corners.append((place[: len(numbers)], place[len(numbers) :]))
    (top, bottom), (left, right) = corners
    held = np.zeros(grid, np.int32)
    for row, col, sign in (
        (top, left, 1),
        (bottom, right, 1),
        (top, right, -1),
        (bottom, left, -1),
    ):
        np.add.at(held, (row, col), sign)
    return bool(held.cumsum(axis=0).cumsum(axis=1).max(initial=0) > 1)


def _moved_overlap(image: ImageContent, numbers: npt.NDArray[np.integer]) -> bool:
    """The same, where lines need not follow each other."""
    taken = np.zeros((image.chip.array.rows, image.chip.array.cols), np.bool_)
    for number in numbers.tolist():
        cells = np.ix_(*image.lines(number))
        if taken[cells].any():
            return True
        taken[cells] = True
    return False


def tiles_are_read_once(image: ImageContent) -> Iterator[str]:
    """Every tile is read in one step, steps follow each other, and a step is of one layer."""
    schedule, count = image.schedule, len(image.tiles)
    if count and (
        schedule.tile.max() >= count or np.bincount(schedule.tile, minlength=count).max() > 1
    ):
        yield "tensor schedule: it does not read every tile once"
        return
    step = np.diff(schedule.step.astype(np.int64))
    if (step < 0).any():
        yield "tensor schedule: its steps do not follow each other"
        return
    of_layer = np.diff(image.tiles.layer[schedule.tile])
    number = _first((step == 0) & (of_layer != 0))
    if number is not None:
        yield f"tensor schedule: step {schedule.step[number]} reads tiles of two layers"


def _first(wrong: npt.NDArray[np.bool_]) -> int | None:
    """The first place where something is wrong."""
    return int(wrong.argmax()) if wrong.any() else None
