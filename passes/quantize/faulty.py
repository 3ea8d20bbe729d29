"""What is known of a layer's cells before it is quantized: which are stuck, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, by_weight, codebooks
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.passes.quantize.rounding import Codes, Grid, damped, refit_scale
from pimc.plan.held import HeldWeights
from pimc.plan.records import Plan

__all__ = ["FaultyLayer", "faulty_layers", "settled"]

Array64 = npt.NDArray[np.float64]

#: Sweeps over the rows of a layer.
_SWEEPS = 3


@dataclass(frozen=True)
class FaultyLayer:
    """A layer some of whose cells are stuck, or some of whose columns are turned.

    Attributes:
        sign: (groups, cols) −1 where the cells of a column hold its weights with the sign turned.
        grid: scale and zero of its columns, for the weights as the cells hold them.
        codes: (groups, rows, cols) as they were before.
        held: what its weights can be.
    """

    sign: Array64
    grid: Grid = field(repr=False)
    codes: Codes = field(repr=False)
    held: HeldWeights = field(repr=False)


def faulty_layers(plan: Plan, chip: Chip, faults: FaultMap) -> dict[str, FaultyLayer]:
    """By name, the layers of a plan whose cells are mapped that faults or turned columns touch."""
    arrays = faults.held_us(chip, min(plan.arrays, chip.hierarchy.arrays))
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    found = {}
    for number, (layer, quantized, book) in enumerate(
        zip(plan.layers, plan.quantized, books, strict=True)
    ):
        held = _held_us(plan, number, book, arrays)
        sign = np.sign(quantized.gain).reshape(layer.groups, layer.cols).astype(np.float64)
        if (sign < 0).any() or not np.isnan(held).all():
            scale = quantized.scale.reshape(sign.shape).astype(np.float64)
            grid = Grid(scale, quantized.zero.reshape(sign.shape))
            levels_us = np.asarray(chip.cell.g_levels_us, np.float64)
            found[layer.name] = FaultyLayer(
                sign, grid, quantized.codes[:, :, :], HeldWeights.of(book, levels_us, held)
            )
    return found


def _held_us(plan: Plan, number: int, book: Codebook, arrays: Array64) -> Array64:
    """(groups, rows, cols, planes) what the stuck cells of a layer hold, NaN for sound ones."""
    layer = plan.layers[number]
    lines = np.full(
        (layer.groups, layer.rows * book.row_planes, layer.cols * book.col_planes), np.nan
    )
    for tile, place, moved in zip(plan.tiles, plan.places, plan.lines, strict=True):
        if tile.layer == number:
            wordlines = place.row + np.arange(tile.rows) if moved is None else moved.wordlines
            bitlines = place.col + np.arange(tile.cols) if moved is None else moved.bitlines
            here = arrays[plan.slot(place.array)][np.ix_(wordlines, bitlines)]
            lines[tile.group, tile.row :, tile.col :][: tile.rows, : tile.cols] = here
    return by_weight(lines, book.planes, book.layout)


def settled(
    weight: Array64, moments: Array64, given: FaultyLayer, book: Codebook
) -> tuple[Grid, Codes]:
    """Scales and codes of columns for what their stuck cells hold, from the codes that they have.

    Weights with stuck cells take the code that comes nearest. Then row by row every weight moves
    by one code where that lowers its column's output error rᵀ H r, r being what the column is
    away from its weights and H the inputs' second moments: coordinate descent, so that no step
    makes a column worse.

    Args:
        weight: (groups, rows, cols) as the cells are to hold it.
        moments: (groups, rows, rows).
    """
    held, scale = given.held, given.grid.scale[:, None, :]
    zero_us = book.values_us[given.grid.zero][:, None, :]
    codes = held.nearest(given.codes, book.values_us[given.codes], held.pattern)
    grid = refit_scale(weight, moments, given.grid, codes, book, held)
    for _ in range(_SWEEPS):
        scale = grid.scale[:, None, :]
        pull = damped(moments) @ (scale * (held.of_codes(codes) - zero_us) - weight)
        codes = _descended(codes, pull, damped(moments), scale, held)
        grid = refit_scale(weight, moments, grid, codes, book, held)
    return grid, codes


def _descended(
    codes: Codes, pull: Array64, moments: Array64, scale: Array64, held: HeldWeights
) -> Codes:
    """Codes after one sweep; ``pull`` is H r, brought up to date row by row."""
    top = held.values_us.shape[1] - 1
    found = codes.copy()
    for row in range(codes.shape[1]):
        pattern, now = held.pattern[:, row], found[:, row].astype(np.int64)
        value = held.of_codes(now, pattern)
        best, moved, code = np.zeros(now.shape), np.zeros(now.shape), now
        for step in (-1, 1):
            other = np.clip(now + step, 0, top)
            move = scale[:, 0] * (held.of_codes(other, pattern) - value)
            change = 2 * move * pull[:, row] + move**2 * moments[:, row, row, None]
            better = change < best
            best, moved = np.where(better, change, best), np.where(better, move, moved)
            code = np.where(better, other, code)
        found[:, row] = code
        pull += moments[:, :, row, None] * moved[:, None, :]
    return found
