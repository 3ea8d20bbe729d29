"""Cells: which wordline and bitline each row and column of a tile takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, codebooks, on_lines
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.plan.records import (
    Lines,
    Place,
    Plan,
    Tile,
)

Array64 = npt.NDArray[np.float64]

#: Rows are assigned for the columns as they lie, then columns for the rows, this often.
_SWEEPS = 2


@dataclass(frozen=True)
class MapCells:
    """Choose row and column order so that important weights avoid faulty cells.

    A tile's rows may take any wordline of its own, or one that nothing else uses on its
    bitlines; its columns change places among themselves. Each is an assignment problem whose
    cost is the squared output error that faults would cause.

    Attributes:
        faults: the die's known faults; None keeps everything in its natural order.
    """

    name: ClassVar[str] = "cells"
    faults: FaultMap | None = field(default=None, repr=False)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.lines``."""
        if self.faults is None:
            return replace(plan, stage=self.name, lines=(None,) * len(plan.tiles))
        occupied = np.zeros((plan.arrays, chip.array.rows, chip.array.cols), np.bool_)
        for tile, place in zip(plan.tiles, plan.places, strict=True):
            occupied[place.array, place.row :, place.col :][: tile.rows, : tile.cols] = True
        # Every phase is written into the same cells.
        held = self.faults.held_us(chip, min(plan.arrays, chip.hierarchy.arrays))
        books = codebooks(chip, (layer.mapping for layer in plan.layers))
        levels_us = np.asarray(chip.cell.g_levels_us)
        lines = tuple(
            _assign(
                plan,
                books[tile.layer],
                levels_us,
                tile,
                place,
                held[plan.slot(place.array)],
                occupied[place.array],
            )
            for tile, place in zip(plan.tiles, plan.places, strict=True)
        )
        return replace(plan, stage=self.name, lines=lines)


def tile_levels(plan: Plan, book: Codebook, tile: Tile) -> npt.NDArray[np.uint16]:
    """Levels of a tile's cells, (wordlines, bitlines)."""
    every = plan.quantized[tile.layer].codes
    first, last = tile.col, tile.col + tile.cols
    if book.planes == 1:
        codes = every[tile.group, _rows(tile, book), first:last]
        return np.asarray(book.levels[:, 0].take(codes))
    codes = every[tile.group, _rows(tile, book), :]
    levels: npt.NDArray[np.uint16] = on_lines(book.levels[codes], book.layout)
    return levels[:, first:last]


def _rows(tile: Tile, book: Codebook) -> slice:
    """The layer's rows that lie in a tile, which begins and ends with whole weights."""
    return slice(tile.row // book.row_planes, (tile.row + tile.rows) // book.row_planes)


def _assign(
    plan: Plan,
    book: Codebook,
    levels_us: Array64,
    tile: Tile,
    place: Place,
    held_us: Array64,
    occupied: npt.NDArray[np.bool_],
) -> Lines | None:
    """Lines of one tile; ``occupied`` is brought up to date."""
    bitlines = np.arange(place.col, place.col + tile.cols)
    own = np.arange(place.row, place.row + tile.rows)
    spare = np.flatnonzero(~occupied[:, bitlines].any(axis=1))
    candidates = np.concatenate([own, spare])
    if np.isnan(held_us[np.ix_(own, bitlines)]).all():
        return None
    wanted = levels_us[tile_levels(plan, book, tile)]
    importance = _importance(plan, book, tile)
    wordlines = own
    for _ in range(_SWEEPS):
        wordlines = candidates[_best(wanted, held_us[np.ix_(candidates, bitlines)], importance)]
        held = held_us[np.ix_(wordlines, bitlines)]
        bitlines = bitlines[_best(wanted.T, held.T, importance.T)]
    occupied[np.ix_(own, bitlines)] = False
    occupied[np.ix_(wordlines, bitlines)] = True
    return Lines(wordlines.astype(np.int32), bitlines.astype(np.int32))


def _importance(plan: Plan, book: Codebook, tile: Tile) -> Array64:
    """Mean square of the output error a µS of each cell, (wordlines, bitlines)."""
    quantized, layer = plan.quantized[tile.layer], plan.layers[tile.layer]
    scale = quantized.scale.reshape(layer.groups, layer.cols)[tile.group].astype(np.float64)
    rows = quantized.importance[tile.group, _rows(tile, book)].astype(np.float64)
    every = np.multiply.outer(rows, scale**2)[..., None] * book.coefficients**2
    squared: Array64 = on_lines(every, book.layout)
    return squared[:, tile.col : tile.col + tile.cols]


def _best(wanted: Array64, held_us: Array64, importance: Array64) -> npt.NDArray[np.int64]:
    """For each row of ``wanted`` the row of ``held_us`` whose faults harm it least."""
    from scipy.optimize import linear_sum_assignment

    faulty = ~np.isnan(held_us)
    held = np.where(faulty, held_us, 0.0)
    # Σ importance · (wanted − held)² over the faulty cells, for every pair of rows.
    cost = (
        (importance * wanted**2) @ faulty.T
        - 2 * (importance * wanted) @ held.T
        + importance @ (held**2).T
    )
    columns: npt.NDArray[np.int64] = linear_sum_assignment(cost)[1]
    return columns
