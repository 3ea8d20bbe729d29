"""What the cells of an image are asked for, and the expected error of programming them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.files.memory_map import let_go
from pimc.files.weights.packing import bits_per_cell, unpack_levels
from pimc.image.image import Image, ImageLayer

#: Arrays after which mapped memory is given back.
_HELD_ARRAYS = 256
#: Cells of a layer by (group, bitline, level).
Counts = npt.NDArray[np.int64]

__all__ = [
    "Counts",
    "cells_used",
    "held_us",
    "level_counts",
    "programming_error",
]


def held_us(image: Image, layer: ImageLayer) -> npt.NDArray[np.float64]:
    """Conductances that the image asks for: (groups, rows, cols, planes) in µS."""
    cells = image.cells(layer)
    levels = image.levels.reshape(-1)[np.maximum(cells, 0)]
    return layer.by_weight(np.asarray(image.chip.cell.g_levels_us)[levels])


def level_counts(image: Image) -> list[Counts]:
    """How often each bitline of a layer is asked for each level, (groups, bitlines, levels)."""
    chip, tiles = image.chip, image.tiles
    rows, cols, levels = chip.array.rows, chip.array.cols, chip.cell.levels
    bits = bits_per_cell(levels)
    found = [np.zeros((e.groups, e.bitlines, levels), np.int64) for e in image.layers]
    order = np.argsort(tiles.array, kind="stable")
    array, last = np.zeros((rows, cols), np.uint16), -1
    for number in order.tolist():
        tile, place = tiles.tile(number), tiles.place(number)
        if place.array != last:
            last = place.array
            packed = image.packed_levels[last : last + 1]
            if last % _HELD_ARRAYS == 0:
                let_go(image.packed_levels)
            array = unpack_levels(packed, bits, rows * cols).reshape(rows, cols)
        held = array[place.row : place.row + tile.rows, place.col : place.col + tile.cols]
        if image.moves_lines:
            held = array[np.ix_(*image.lines(number))]
        columns = np.arange(tile.cols) * levels
        flat = np.bincount((held + columns).reshape(-1), minlength=tile.cols * levels)
        part = slice(tile.col, tile.col + tile.cols)
        found[tile.layer][tile.group, part] += flat.reshape(-1, levels)
    return found


def cells_used(image: Image) -> int:
    """Cells that hold a weight."""
    return int((image.tiles.rows.astype(np.int64) * image.tiles.cols).sum())


def programming_error(image: Image, layer: ImageLayer, counts: Counts | None = None) -> float:
    """Expected Σ(w − ŵ)² / Σŵ² of the written layer about its codes, from the chip's spread σ(G).

    ŵ = s Σ_p c_p (G_p − G_zero), Var w = s² Σ_p c_p² σ(G_p)² with column scale s.
    ``counts`` are the layer's of :func:`level_counts`, which are enough for one cell a weight.
    """
    if counts is not None and layer.planes == 1:
        return _single_cell_error(image, layer, counts)
    held = held_us(image, layer)
    book = image.codebook_of(layer)
    sigma = image.chip.spread_us(held)
    scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
    zero = book.values_us[layer.zero].reshape(layer.groups, 1, layer.cols)
    weight = scale * (held @ book.coefficients - zero)
    variance = scale**2 * (sigma**2 @ book.coefficients**2)
    power = float((weight**2).sum())
    return float(variance.sum()) / power if power else 0.0


def _single_cell_error(image: Image, layer: ImageLayer, counts: Counts) -> float:
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    factor = image.codebook_of(layer).coefficients[0] ** 2
    squared = (layer.scale.astype(np.float64) ** 2).reshape(layer.groups, layer.cols) * factor
    zero_us = levels_us[layer.zero].reshape(layer.groups, layer.cols, 1)
    variance = counts @ image.chip.spread_us(levels_us) ** 2
    power = (counts * (levels_us - zero_us) ** 2).sum(axis=2)
    total = float((squared * power).sum())
    return float((squared * variance).sum()) / total if total else 0.0
