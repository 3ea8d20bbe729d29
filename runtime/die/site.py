"""The site of a region: where its cells lie, and what stays true of them from read to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import DeviceError
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.physics import read_noise
from pimc.runtime.physics.ir_drop import METHODS, Method, Wires

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DrivenArray:
    """An array as one read drives it, all its bitlines, for cells that make of it no matrix.

    Attributes:
        block: of the region.
        rows: (driven wordlines,) of the block, in the order of their wordlines.
        wordlines: (driven wordlines,) their numbers in the array, increasing.
        columns: of the block.
        bitlines: (columns,) of the array.
        g_us: (driven wordlines, bitlines) what cells conduct at full voltage, µS; the reference
            column is the last, where the chip has one.
        linear_us: what the array answers with if cells were linear; likewise.
    """

    block: int
    rows: Ints = field(repr=False)
    wordlines: Ints = field(repr=False)
    columns: Ints = field(repr=False)
    bitlines: Ints = field(repr=False)
    g_us: Floats = field(repr=False)
    linear_us: Floats = field(repr=False)


@dataclass(frozen=True)
class Site:
    """Of a region, what holds until the die is written to or ages.

    Attributes:
        present: (blocks, rows, columns) there is a cell; so are the next ones.
        cells: addresses of the cells, 0 where there is none.
        conducting: there is a cell, and neither of its lines is dead.
        age_s: seconds since each cell was written.
        held_us: what the cells conduct, in µS, before reads disturb them; 0 where there is none.
        driven: (blocks, rows, reads) a read drives a wordline; so are the next ones. A block has
            as many reads as the one with the most.
        lines: addresses of the wordlines, which are those of their reference cells too.
        reference_us: what the reference cells conduct, likewise.
        cell_traps, reference_traps: which have a trap; None without telegraph noise.
        cell_wires, reference_wires: what wires do to them; None without wire resistance.
        curved: the arrays, where each input is a solution of its own (:func:`curves`).
        read_of_column: (blocks, columns) which of its block's reads a column belongs to.
    """

    present: Mask = field(repr=False)
    cells: Ints = field(repr=False)
    conducting: Mask = field(repr=False)
    age_s: Floats = field(repr=False)
    held_us: Floats = field(repr=False)
    driven: Mask = field(repr=False)
    lines: Ints = field(repr=False)
    reference_us: Floats = field(repr=False)
    cell_traps: Mask | None = field(repr=False)
    reference_traps: Mask | None = field(repr=False)
    cell_wires: Wires | None = field(repr=False)
    reference_wires: Wires | None = field(repr=False)
    curved: tuple[DrivenArray, ...] = field(repr=False)
    read_of_column: Ints = field(repr=False)

    def of_columns(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(blocks, rows, reads) → (blocks, rows, columns)."""
        return np.take_along_axis(values, self.read_of_column[:, None, :], axis=2)


def curves(die: Die, ir_drop: Method) -> bool:
    """Whether an array answers with no matrix: exact wires around cells that are not linear.

    Trains of pulses stand apart: every pulse would be a solution of its own, so cells count as
    linear there.
    """
    chip = die.attached()
    bent = chip.cell.iv_alpha > 0 and chip.dac.mode != "pulse_count"
    return bent and ir_drop == "exact" and chip.array.wire_ohm > 0 and not die.perfect


def site_of(die: Die, region: Region, ir_drop: Method = "first") -> Site:
    """The site of a region of a die that is attached to its chip.

    Raises:
        DeviceError: the region has cells that the die has not.
    """
    chip, state, addresses = die.attached(), die.cells, region.cells
    if addresses.max(initial=-1) >= state.level.size:
        raise DeviceError("the die has fewer arrays than the image uses", where=die.name)
    present = addresses >= 0
    cells = np.where(present, addresses, 0)
    which = read_of_column(addresses, chip)
    driven, lines = _lines(addresses, which, chip)
    noise, telegraph = chip.read_noise, chip.read_noise.rtn_share > 0 and not die.perfect

    def traps(streams: read_noise.Streams, where: Ints) -> Mask | None:
        return read_noise.trapped(noise, die.seed, streams, where) if telegraph else None

    wires = chip.array.wire_ohm > 0 and not die.perfect
    cell_wires, reference_wires, arrays = (
        _wires(die, addresses, which, driven, lines, ir_drop) if wires else (None, None, ())
    )
    return Site(
        present=present,
        cells=cells,
        conducting=present & (state.stuck.reshape(-1)[cells] != Stuck.OPEN),
        age_s=state.age_s.reshape(-1)[cells],
        held_us=np.where(present, die.held_us(cells), 0.0),
        driven=driven,
        lines=lines,
        reference_us=np.where(driven, die.reference_held_us(lines), 0.0),
        cell_traps=traps(read_noise.CELL, cells),
        reference_traps=traps(read_noise.REFERENCE, lines),
        cell_wires=cell_wires,
        reference_wires=reference_wires,
        curved=arrays if curves(die, ir_drop) else (),
        read_of_column=which,
    )


def read_of_column(cells: Ints, chip: Chip) -> Ints:
    """(blocks, columns): which of its block's reads a column belongs to, counted from 0.

    Columns are read together where they lie in one array, on the same wordlines.
    """
    lines = cells // chip.array.cols
    changes = (np.diff(lines, axis=2, prepend=lines[:, :, :1]) != 0).any(axis=1)
    which: Ints = changes.cumsum(axis=1)
    return which


def _lines(cells: Ints, which: Ints, chip: Chip) -> tuple[Mask, Ints]:
    """(blocks, rows, reads): whether a read drives a wordline, and the wordline's address."""
    columns = which[:, None, :] == np.arange(which.max(initial=0) + 1)[:, None]
    first = np.take_along_axis(cells, columns.argmax(axis=2)[:, None, :], axis=2)
    driven = (first >= 0) & columns.any(axis=2)[:, None, :]
    return driven, np.where(driven, first // chip.array.cols, 0)


def _wires(
    die: Die, cells: Ints, which: Ints, driven: Mask, lines: Ints, ir_drop: Method
) -> tuple[Wires, Wires, tuple[DrivenArray, ...]]:
    """What wires do to every cell, and to every reference cell; and the arrays."""
    chip = die.attached()
    of_cells, of_references = _no_wires(cells.shape), _no_wires(driven.shape)
    arrays = []
    for block, read in np.argwhere(driven.any(axis=1)):
        rows = np.flatnonzero(driven[block, :, read])
        # A tile's rows need not sit on their wordlines in order.
        rows = rows[lines[block, rows, read].argsort()]
        line = lines[block, rows, read]
        wordlines = line % chip.array.rows
        g_us = die.held_us(line[:, None] * chip.array.cols + np.arange(chip.array.cols))
        if chip.mapping.pedestal == "reference":
            g_us = np.column_stack([g_us, die.reference_held_us(line)])
        found = METHODS[ir_drop](
            g_us.astype(np.float64), wordlines, chip.array.rows, chip.array.wire_ohm
        )
        columns = np.flatnonzero(which[block] == read)
        bitlines = cells[block, rows[0], columns] % chip.array.cols
        of_cells.share[block][np.ix_(rows, columns)] = found.share[:, bitlines]
        of_cells.around_us[block][np.ix_(rows, columns)] = found.around_us[:, bitlines]
        of_references.share[block, rows, read] = found.share[:, -1]
        of_references.around_us[block, rows, read] = found.around_us[:, -1]
        linear_us = found.effective_us(g_us)
        arrays.append(DrivenArray(int(block), rows, wordlines, columns, bitlines, g_us, linear_us))
    return of_cells, of_references, tuple(arrays)


def _no_wires(shape: tuple[int, ...]) -> Wires:
    return Wires(np.ones(shape), np.zeros(shape))
