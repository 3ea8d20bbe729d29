"""The levels of all cells, array by array, packed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import codebooks
from pimc.chip.design import Chip
from pimc.files.weights.packing import bits_per_cell, pack_levels, packed_bytes
from pimc.passes.layout.map_cells import tile_levels
from pimc.plan.records import Plan

__all__ = ["array_bytes", "packed_levels"]

#: Arrays packed together, and tiles after which memory of mapped weights is given back.
_ARRAYS, _HELD = 512, 32

Levels = npt.NDArray[np.uint16]


def array_bytes(chip: Chip) -> int:
    """Bytes of an array's packed levels."""
    return packed_bytes(chip.cell.levels, chip.array.rows * chip.array.cols)


def packed_levels(plan: Plan, chip: Chip) -> Iterator[npt.NDArray[np.uint8]]:
    """Packed levels of all arrays in order, some at a time."""
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    bits = bits_per_cell(chip.cell.levels)
    inside: list[list[int]] = [[] for _ in range(plan.arrays)]
    for number, place in enumerate(plan.places):
        inside[place.array].append(number)
    arrays = np.empty((_ARRAYS, chip.array.rows, chip.array.cols), np.uint16)
    for start in range(0, plan.arrays, _ARRAYS):
        some = inside[start : start + _ARRAYS]
        arrays[:] = 0
        numbers = sorted(chain.from_iterable(some), key=partial(_where, plan))
        for count, number in enumerate(numbers, start=1):
            tile, place = plan.tiles[number], plan.places[number]
            wanted = tile_levels(plan, books[tile.layer], tile)
            _fill(arrays[place.array - start], plan, number, wanted)
            if count % _HELD == 0:
                plan.layers[tile.layer].weight.let_go()
        yield pack_levels(arrays[: len(some)].reshape(len(some), -1), bits)


def _where(plan: Plan, number: int) -> tuple[int, ...]:
    """Sorts tiles by where their weights lie, so that what is read together lies together."""
    tile = plan.tiles[number]
    lines = (
        (tile.col, tile.row) if plan.layers[tile.layer].weight.by_column else (tile.row, tile.col)
    )
    return tile.layer, tile.group, *lines


def _fill(array: Levels, plan: Plan, number: int, wanted: Levels) -> None:
    """Put the levels of a tile where it lies in its array."""
    tile, place, lines = plan.tiles[number], plan.places[number], plan.lines[number]
    if lines is None:
        array[place.row : place.row + tile.rows, place.col : place.col + tile.cols] = wanted
    else:
        array[np.ix_(lines.wordlines, lines.bitlines)] = wanted
