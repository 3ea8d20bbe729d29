"""A fault map: which cells of a die are known not to take what is written.

A CSV file with the header ``array,row,col,fault``; ``*`` for a row or column means all of
them. ``fault`` is ``stuck_gmin``, ``stuck_gmax`` or ``open`` (no current at all).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import DataError
from pimc.files.kinds.reading import read_as
from pimc.files.memory_map import require_regular
from pimc.files.writing.atomic import replacing

FIELDS = ("array", "row", "col", "fault")
KINDS = ("stuck_gmin", "stuck_gmax", "open")


@dataclass(frozen=True)
class Fault:
    """One entry: a cell, or a whole line where ``row`` or ``col`` is None."""

    array: int
    row: int | None
    col: int | None
    kind: str


@dataclass(frozen=True)
class FaultMap:
    """All known faults of a die."""

    faults: tuple[Fault, ...]
    source: str = "faults"

    @staticmethod
    @read_as("faults")
    def load(path: str | Path) -> FaultMap:
        """Read a fault map.

        Raises:
            DataError: the file is missing or a line of it is malformed; the line is named.
        """
        where = str(path)
        try:
            require_regular(path)
            with Path(path).open(newline="", encoding="utf-8") as stream:
                reader = csv.reader(stream)
                header = tuple(cell.strip() for cell in next(reader, []))
                if header != FIELDS:
                    raise DataError(f"the first line is not {','.join(FIELDS)}", where=where)
                faults = tuple(_entry(row, f"{where}:{reader.line_num}") for row in reader if row)
        except (OSError, UnicodeDecodeError, csv.Error) as cause:
            raise DataError("the fault map cannot be read", where=where) from cause
        return FaultMap(faults, where)

    @staticmethod
    def joined(maps: Sequence[FaultMap]) -> FaultMap:
        """The faults of several maps of one die; of a cell that two name the later says what."""
        faults = dict.fromkeys(fault for each in maps for fault in each.faults)
        return FaultMap(tuple(faults), ", ".join(each.source for each in maps))

    def save(self, path: str | Path) -> None:
        """Write the map, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        lines = [",".join(FIELDS)]
        for fault in self.faults:
            row, col = ("*" if line is None else str(line) for line in (fault.row, fault.col))
            lines.append(f"{fault.array},{row},{col},{fault.kind}")
        with replacing(path) as stream:
            stream.write(("\n".join(lines) + "\n").encode())

    def held_us(self, chip: Chip, arrays: int) -> npt.NDArray[np.float64]:
        """(arrays, rows, cols) conductance a faulty cell holds, NaN where a cell is sound.

        Raises:
            DataError: a fault outside the chip's arrays.
        """
        held = np.full((arrays, chip.array.rows, chip.array.cols), np.nan)
        value = {"stuck_gmin": chip.cell.g_min_us, "stuck_gmax": chip.cell.g_max_us, "open": 0.0}
        for fault in self.faults:
            if (fault.row or 0) >= chip.array.rows or (fault.col or 0) >= chip.array.cols:
                raise DataError(
                    f"row {fault.row}, column {fault.col} lies outside an array of "
                    f"{chip.array.rows}×{chip.array.cols}",
                    where=self.source,
                )
            if fault.array < arrays:
                rows = slice(None) if fault.row is None else fault.row
                cols = slice(None) if fault.col is None else fault.col
                held[fault.array, rows, cols] = value[fault.kind]
        return held


def _entry(row: list[str], where: str) -> Fault:
    try:
        array, line, column, kind = (cell.strip() for cell in row)
        fault = Fault(int(array), _line(line), _line(column), kind)
    except ValueError as cause:
        raise DataError(
            f"not a fault: {','.join(row)}", where=where, hint="write array,row,col,fault"
        ) from cause
    if kind not in KINDS or min(fault.array, fault.row or 0, fault.col or 0) < 0:
        raise DataError(
            f"not a fault: {','.join(row)}", where=where, hint=f"faults are {', '.join(KINDS)}"
        )
    return fault


def _line(text: str) -> int | None:
    return None if text == "*" else int(text)
