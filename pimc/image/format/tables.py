"""The tables of an image with named columns: where tiles lie, and when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pimc.plan.records import Lines, Place, Tile

__all__ = ["TILE_FIELDS", "Schedule", "Tiles", "line_tables"]

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Where every tile lies: columns of the ``tiles`` tensor, (tiles,) each.

    Attributes:
        layer, group: what it is of; the layer by its number.
        row, rows, col, cols: first wordline and bitline within the group, and how many.
        array, array_row, array_col: where it sits on the chip.
    """

    layer: Ints
    group: Ints
    row: Ints
    rows: Ints
    col: Ints
    cols: Ints
    array: Ints
    array_row: Ints
    array_col: Ints

    @staticmethod
    def of(table: Ints) -> Tiles:
        """Columns of the tensor (tiles, 9); nothing is copied."""
        return Tiles(*table.T)

    @staticmethod
    def placed(tiles: Sequence[Tile], places: Sequence[Place]) -> Tiles:
        """Tiles of a plan where they are placed."""
        table = [
            (t.layer, t.group, t.row, t.rows, t.col, t.cols, p.array, p.row, p.col)
            for t, p in zip(tiles, places, strict=True)
        ]
        return Tiles.of(np.asarray(table, np.int32).reshape(-1, len(TILE_FIELDS)))

    def __len__(self) -> int:
        return len(self.layer)

    def of_layer(self, index: int) -> npt.NDArray[np.int64]:
        """Numbers of the tiles of a layer."""
        return np.flatnonzero(self.layer == index)

    def chosen(self, which: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Tiles:
        """Some of the tiles, by numbers or by a mask."""
        return Tiles(*(column[which] for column in self._columns()))

    def tile(self, number: int) -> Tile:
        """Which block of its layer's matrix a tile is."""
        return Tile(*(int(column[number]) for column in self._columns()[:6]))

    def place(self, number: int) -> Place:
        """Where a tile sits."""
        return Place(*(int(column[number]) for column in self._columns()[6:]))

    def table(self) -> Ints:
        """The tensor (tiles, 9)."""
        return np.stack(self._columns(), axis=1)

    def _columns(self) -> tuple[Ints, ...]:
        return tuple(getattr(self, name) for name in TILE_FIELDS)


#: Columns of the ``tiles`` tensor.
TILE_FIELDS = tuple(item.name for item in fields(Tiles))


@dataclass(frozen=True, eq=False)
class Schedule:
    """What is read when: columns of the ``schedule`` tensor, (tiles,) each, in order of time.

    Attributes:
        step: number of the read step.
        tile: number of a tile that is read in it.
    """

    step: Ints
    tile: Ints

    @staticmethod
    def of(table: Ints) -> Schedule:
        """Columns of the tensor (tiles, 2); nothing is copied."""
        return Schedule(*table.T)

    def table(self) -> Ints:
        """The tensor (tiles, 2)."""
        return np.stack([self.step, self.tile], axis=1)


def line_tables(lines: Sequence[Lines | None]) -> tuple[Ints | None, Ints | None]:
    """The tensors ``lines`` and ``line_offsets``; none where all tiles lie consecutively."""
    if not any(line is not None for line in lines):
        return None, None
    offsets, parts, length = [], [], 0
    for line in lines:
        offsets.append(-1 if line is None else length)
        if line is not None:
            parts += [line.wordlines, line.bitlines]
            length += len(line.wordlines) + len(line.bitlines)
    return np.concatenate(parts), np.asarray(offsets, np.int32)
