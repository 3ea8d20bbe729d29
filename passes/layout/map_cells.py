"""Cells: which wordline and bitline each row and column of a tile takes, and with which sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, codebooks, on_lines
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.passes.layout.faulty_tile import FaultyTile
from pimc.plan.held import squared_error
from pimc.plan.mirror import NO_TURN, mirrored, turns
from pimc.plan.records import (
    Lines,
    Plan,
    Quantized,
    Tile,
)

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rows are assigned for the columns as they lie, then columns for the rows, this often tile by
#: tile; then, with signs and free bitlines, this often layer by layer.
_SWEEPS, _ROUNDS = 2, 3


@dataclass(frozen=True)
class MapCells:
    """Choose order of rows and columns, and signs of columns, so that faults do least harm.

    A tile's rows may take any wordline of its own, or one that nothing else uses on its
    bitlines; its columns any bitline of its own, or one that nothing else uses on its wordlines.
    Each is an assignment problem whose cost is the squared output error that faults would cause.
    A column may be stored with its sign turned, in all tiles of its layer, for which it gets a
    negative digital gain.

    Attributes:
        faults: the die's known faults; None keeps everything in its natural order.
        settled: weights are rounded once more around the faults afterwards, and ranges are fitted
            again (:class:`~pimc.passes.quantize.settle.Settle`).
        signs: columns may be turned.
        wider: columns may leave their tile's own bitlines.
    """

    name: ClassVar[str] = "cells"
    faults: FaultMap | None = field(default=None, repr=False)
    settled: bool = False
    signs: bool = True
    wider: bool = True

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.lines``, and turn columns of ``plan.quantized``."""
        if self.faults is None:
            return replace(plan, stage=self.name, lines=(None,) * len(plan.tiles))
        board = _Board.of(plan, chip, self.faults, made_up=self.settled)
        layers = range(len(plan.layers))
        for layer in layers:
            for number, tile in board.faulty(layer).items():
                for _ in range(_SWEEPS):
                    tile.move_rows()
                    tile.move_columns(wider=False)
                board.keep(number, tile)
        quantized = plan.quantized
        if self.signs or self.wider:
            quantized = tuple(self._refined(board, layer) for layer in layers)
        return replace(plan, stage=self.name, lines=board.lines(), quantized=quantized)

    def _refined(self, board: _Board, layer: int) -> Quantized:
        """A layer with signs, its tiles moved once more, from the better of two starts.

        One are the signs that columns have, with which no step costs more than the one before;
        the other those that would cost least with faults anywhere, which rows then follow.
        """
        turn = self._turns(board, layer)
        tiles = board.faulty(layer, turn)
        starts = [np.zeros(turn.shape, np.bool_)]
        likely = board.cost(tiles, turn, FaultyTile.likely)
        starts += [likely[1] < likely[0]] if (turn != NO_TURN).any() else []
        before, found = _lying(tiles), []
        for start in starts:
            _lay(tiles, before)
            turned, cost = self._moved(board, layer, tiles, turn, start)
            found.append((cost, turned, _lying(tiles)))
        _, turned, at = min(found, key=lambda each: each[0])
        _lay(tiles, at)
        for number, tile in tiles.items():
            board.keep(number, tile)
        return mirrored(board.plan.quantized[layer], turn, turned)

    def _moved(
        self,
        board: _Board,
        layer: int,
        tiles: Mapping[int, FaultyTile],
        turn: Ints,
        start: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.bool_], float]:
        """Move tiles and turn columns in turns; which columns are turned then, and the cost."""
        turned = start.copy()
        for number, tile in list(tiles.items()) * _ROUNDS:
            group = board.plan.tiles[number].group
            tile.turned = turned[group][tile.outputs]
            tile.move_rows()
            if board.books[layer].col_planes == 1:
                others = board.cost(tiles, turn, but=number)[:, group, tile.outputs]
                tile.move_columns(others, wider=self.wider)
                turned[group, tile.outputs] = tile.turned
            else:
                tile.move_columns(wider=self.wider)
                whole = board.cost(tiles, turn)
                turned = whole[1] < whole[0]
        whole = board.cost(tiles, turn)
        return turned, float(np.where(turned, whole[1], whole[0]).sum())

    def _turns(self, board: _Board, layer: int) -> Ints:
        """What a code and the turned one add up to, of each of a layer's columns."""
        quantized, book = board.plan.quantized[layer], board.books[layer]
        groups, _, cols = quantized.codes.shape
        # Ranges of columns' own stay with the bitlines that they were fitted to.
        bound = quantized.adc_column_lsb_us is not None and book.col_planes > 1
        if not self.signs or (bound and not self.settled) or not board.faulty(layer):
            return np.full((groups, cols), NO_TURN)
        zero = quantized.zero.reshape(groups, cols)
        return turns(quantized.codes[:, :, :], zero, book, same_currents=not self.settled)


@dataclass
class _Board:
    """Where all tiles lie, and the faults around them.

    Attributes:
        books: of each layer.
        held_us: (arrays, rows, cols) what faulty cells hold, NaN for sound ones.
        occupied: (arrays, rows, cols) cells that tiles take; kept up to date.
        made_up: other cells of a weight will make up for a faulty one.
        at: (wordlines, bitlines) of each tile.
    """

    plan: Plan
    levels_us: Array64
    books: list[Codebook]
    held_us: list[Array64]
    occupied: npt.NDArray[np.bool_]
    made_up: bool
    at: list[tuple[Ints, Ints]]

    @staticmethod
    def of(plan: Plan, chip: Chip, faults: FaultMap, *, made_up: bool) -> _Board:
        """All tiles in their natural order."""
        occupied = np.zeros((plan.arrays, chip.array.rows, chip.array.cols), np.bool_)
        at = [
            (
                np.arange(place.row, place.row + tile.rows),
                np.arange(place.col, place.col + tile.cols),
            )
            for tile, place in zip(plan.tiles, plan.places, strict=True)
        ]
        for (wordlines, bitlines), place in zip(at, plan.places, strict=True):
            occupied[place.array][np.ix_(wordlines, bitlines)] = True
        # Every phase is written into the same cells.
        held = faults.held_us(chip, min(plan.arrays, chip.hierarchy.arrays))
        return _Board(
            plan,
            np.asarray(chip.cell.g_levels_us, np.float64),
            codebooks(chip, (layer.mapping for layer in plan.layers)),
            [held[plan.slot(array)] for array in range(plan.arrays)],
            occupied,
            made_up,
            at,
        )

    def faulty(self, layer: int, turn: Ints | None = None) -> dict[int, FaultyTile]:
        """The tiles of a layer that have faults where they lie, by number.

        Args:
            turn: (groups, cols) as of :func:`~pimc.plan.mirror.turns`; no column turns if None.
        """
        found = {}
        for number, (tile, place) in enumerate(zip(self.plan.tiles, self.plan.places, strict=True)):
            if tile.layer != layer:
                continue
            held = self.held_us[place.array]
            here = held[np.ix_(*self.at[number])]
            if not np.isnan(here).all():
                found[number] = self._tile(number, held, turn)
        return found

    def keep(self, number: int, tile: FaultyTile) -> None:
        """Take over where a tile lies now."""
        self.at[number] = (tile.wordlines, tile.bitlines)

    def lines(self) -> tuple[Lines | None, ...]:
        """Lines of all tiles, None of those that lie in their natural order."""
        found: list[Lines | None] = []
        for (wordlines, bitlines), place, tile in zip(
            self.at, self.plan.places, self.plan.tiles, strict=True
        ):
            moved = (wordlines != place.row + np.arange(tile.rows)).any()
            moved = moved or (bitlines != place.col + np.arange(tile.cols)).any()
            lines = Lines(wordlines.astype(np.int32), bitlines.astype(np.int32))
            found.append(lines if moved else None)
        return tuple(found)

    def cost(
        self,
        tiles: Mapping[int, FaultyTile],
        turn: Ints,
        of_tile: Callable[[FaultyTile], Array64] = FaultyTile.cost,
        but: int | None = None,
    ) -> Array64:
        """(signs, groups, cols) what the faults of a layer's tiles cost, without those of one."""
        total = np.zeros((2, *turn.shape))
        total[1][turn == NO_TURN] = np.inf
        for number, tile in tiles.items():
            if number != but:
                group = self.plan.tiles[number].group
                for whole, part in zip(total[:, group], of_tile(tile), strict=True):
                    np.add.at(whole, tile.outputs, part)
        return total

    def _tile(self, number: int, held_us: Array64, turn: Ints | None) -> FaultyTile:
        tile, place = self.plan.tiles[number], self.plan.places[number]
        book, array = self.books[tile.layer], place.array
        codes = _codes(self.plan, book, tile)
        turned = codes
        if turn is not None:
            inside = slice(tile.col, tile.col + tile.cols) if book.planes == 1 else slice(None)
            sums = turn[tile.group, inside]
            turned = np.where(sums == NO_TURN, codes, sums - codes)
        importance, kinds = self._importance(tile), np.unique(held_us[~np.isnan(held_us)])
        harm = []
        for kind in kinds:
            each = [
                squared_error(book, self.levels_us, plane, kind, made_up=self.made_up)
                for plane in range(book.planes)
            ]
            table, planes = np.stack(each, axis=1), np.arange(book.planes)
            signs = [table[some[..., None], planes] for some in (codes, turned)]
            harm.append(np.stack([importance * _on_tile(sign, book, tile) for sign in signs]))
        wordlines, bitlines = self.at[number]
        return FaultyTile(
            harm,
            [held_us == kind for kind in kinds],
            self.occupied[array],
            wordlines,
            bitlines,
            outputs=_outputs(self.plan, book, tile),
            turned=np.zeros(tile.cols, np.bool_),
        )

    def _importance(self, tile: Tile) -> Array64:
        """Squared output error a squared error of each weight, (wordlines, bitlines)."""
        quantized, layer = self.plan.quantized[tile.layer], self.plan.layers[tile.layer]
        book = self.books[tile.layer]
        scale = quantized.scale.reshape(layer.groups, layer.cols)[tile.group].astype(np.float64)
        rows = quantized.importance[tile.group, _rows(tile, book)].astype(np.float64)
        every = np.repeat(np.multiply.outer(rows, scale**2)[..., None], book.planes, axis=-1)
        lines: Array64 = on_lines(every, book.layout)
        return lines[:, tile.col : tile.col + tile.cols]


def _outputs(plan: Plan, book: Codebook, tile: Tile) -> Ints:
    """The layer's column that each of a tile's bitlines belongs to."""
    bitlines = np.arange(tile.col, tile.col + tile.cols)
    if book.layout == "arrays":
        return bitlines % plan.layers[tile.layer].cols
    return bitlines // book.col_planes


def _lying(tiles: Mapping[int, FaultyTile]) -> dict[int, tuple[Ints, Ints]]:
    return {number: (tile.wordlines, tile.bitlines) for number, tile in tiles.items()}


def _lay(tiles: Mapping[int, FaultyTile], at: Mapping[int, tuple[Ints, Ints]]) -> None:
    """Move tiles together: one may lie where another did."""
    for tile in tiles.values():
        tile.leave()
    for number, tile in tiles.items():
        tile.lie(*at[number])


def tile_levels(plan: Plan, book: Codebook, tile: Tile) -> npt.NDArray[np.uint16]:
    """Levels of a tile's cells, (wordlines, bitlines)."""
    if book.planes == 1:
        return np.asarray(book.levels[:, 0].take(_codes(plan, book, tile)))
    levels: npt.NDArray[np.uint16] = _on_tile(book.levels[_codes(plan, book, tile)], book, tile)
    return levels


def _codes(plan: Plan, book: Codebook, tile: Tile) -> npt.NDArray[np.uint16]:
    """Codes of a tile's rows: of its columns, or of all where a weight takes several cells."""
    columns = slice(tile.col, tile.col + tile.cols) if book.planes == 1 else slice(None)
    return plan.quantized[tile.layer].codes[tile.group, _rows(tile, book), columns]


def _on_tile(values: npt.NDArray[Any], book: Codebook, tile: Tile) -> npt.NDArray[Any]:
    """A tile's part of values (rows, cols, planes), (wordlines, bitlines)."""
    if book.planes == 1:
        return values[..., 0]
    return on_lines(values, book.layout)[:, tile.col : tile.col + tile.cols]


def _rows(tile: Tile, book: Codebook) -> slice:
    """The layer's rows that lie in a tile, which begins and ends with whole weights."""
    return slice(tile.row // book.row_planes, (tile.row + tile.rows) // book.row_planes)
