"""A simulated die: what the cells of one physical specimen really hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import DeviceError, UsageError
from pimc.files.kinds.reading import read_as
from pimc.runtime.die import die_file
from pimc.runtime.die.cells import OLDEST_S, UNWRITTEN, Cells, unread
from pimc.runtime.die.die_file import FORMAT, SUFFIX, VERSION, DieEntry
from pimc.runtime.physics import retention
from pimc.runtime.physics.disturb import disturbs
from pimc.runtime.physics.faults import Stuck, draw_faults, with_faults
from pimc.runtime.physics.retention import aged_us
from pimc.runtime.physics.streams import Stream
from pimc.runtime.physics.writing import reference_us, verified, written_us
from pimc.work.parts import parts

__all__ = [
    "FORMAT",
    "LONGEST_S",
    "SUFFIX",
    "UNWRITTEN",
    "VERSION",
    "Cells",
    "Die",
    "Stream",
    "Stuck",
    "require_age",
]

#: The longest time a die is aged by at once: thirty thousand years.
LONGEST_S = 1e12
#: Cells that are drawn or written at once: what it takes on the way is tens of bytes a cell.
_AT_ONCE = 1 << 20


def require_age(seconds: float, where: str) -> float:
    """The age of cells, if it is one.

    Raises:
        UsageError: it is negative, no number, or beyond what dies get.
    """
    if not 0 <= seconds <= OLDEST_S:
        raise UsageError(
            f"cells are not {seconds:g} s old",
            where=where,
            hint=f"give seconds, 0 to {OLDEST_S:g}",
        )
    return float(seconds)


@dataclass
class Die:
    """One specimen of a chip. Writing changes it; that is what writing does.

    A die is first only a seed; it becomes a die of a chip when it is attached to one.

    Attributes:
        seed: key of all its random numbers.
        perfect: no programming error, no stuck cell, no read noise, no change with time.
        chip: the design, once attached.
        clock_s: seconds that passed since it was made.
        revision: how often it was written to or aged, in this process; what was derived from
            its conductances holds as long as this stays.
    """

    seed: int = 0
    perfect: bool = False
    chip: Chip | None = None
    clock_s: float = 0.0
    revision: int = field(default=0, repr=False, compare=False)
    _cells: Cells | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        if self.chip is None:
            return f"Die({self.name}, of no chip yet)"
        return f"Die({self.name}, {self.chip.name}: {len(self.cells.level):,} arrays)"

    def _repr_html_(self) -> str:
        """What notebooks show: how its cells are."""
        import pimc

        return pimc.brief(self)

    @staticmethod
    def simulated(seed: int = 0) -> Die:
        """A die with the chip's statistics, drawn from ``seed``."""
        return Die(seed=seed)

    @staticmethod
    def ideal() -> Die:
        """A die whose cells hold exactly what was written."""
        return Die(perfect=True)

    @property
    def name(self) -> str:
        """How captures and recovered images call this die."""
        return "sim:ideal" if self.perfect else f"sim:{self.seed}"

    @property
    def cells(self) -> Cells:
        """The state of the cells.

        Raises:
            DeviceError: the die was never attached to a chip.
        """
        if self._cells is None:
            raise DeviceError(
                "the die belongs to no chip yet", where=self.name, hint="program an image first"
            )
        return self._cells

    def attach(self, chip: Chip, arrays: int) -> None:
        """Make this a die of ``chip`` with at least ``arrays`` arrays.

        Raises:
            DeviceError: it already is a die of another chip.
        """
        if self.chip is not None and self.chip.fingerprint != chip.fingerprint:
            raise DeviceError(
                f"this is a die of chip {self.chip.name!r} with other parameters "
                f"than the image's chip {chip.name!r}",
                where=self.name,
                hint="use a die of the image's chip, or compile for this die's chip",
            )
        self.chip = chip
        have = 0 if self._cells is None else len(self._cells.level)
        if have >= arrays:
            return
        fresh = self._virgin(chip, have, arrays)
        if self._cells is None:
            self._cells = fresh
        else:
            old = self._cells
            self._cells = Cells(
                *(np.concatenate([getattr(old, n), getattr(fresh, n)]) for n in vars(old))
            )

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Write ``levels`` into ``cells`` (addresses); every write draws its own error.

        Returns:
            True where the write went through. Only a chip with ``sigma.kind = "write_verify"``
            notices where it did not: out of pulses, or stuck elsewhere.
        """
        # A draw depends on the cell and on no other, so cells may be written some after others.
        together = parts(len(cells), 1, _AT_ONCE)
        taken = [self._write(cells[some], levels[some]) for some in together]
        self.revision += 1
        return np.concatenate(taken) if taken else np.zeros(0, np.bool_)

    def _write(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        chip, state = self.attached(), self.cells
        index = np.unravel_index(cells, state.level.shape)
        target = np.asarray(chip.cell.g_levels_us)[levels]
        stuck = state.stuck[index]
        g, accepted = target, np.ones(target.shape, np.bool_)
        if not self.perfect:
            g, accepted = written_us(chip, self.seed, cells, target, state.writes[index])
        held = with_faults(chip, stuck, g)
        state.level[index] = levels
        state.writes[index] += 1
        state.g_us[index] = held
        if state.age_s[index].any():  # what was never touched takes no memory
            state.age_s[index] = 0.0
        if disturbs(chip):
            state.stress_before[index] = state.stress[index[:2]]
        return np.where(stuck == Stuck.FREE, accepted, verified(chip, held, target))

    def age(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            UsageError: a time that is negative, no number or beyond :data:`LONGEST_S`, or that
                makes the die older than dies get.
            DeviceError: the die was never attached to a chip.
        """
        if not 0 <= seconds <= LONGEST_S or self.clock_s + seconds > OLDEST_S:
            raise UsageError(
                f"a die does not age by {seconds:g} s",
                where=self.name,
                hint=f"give seconds, 0 to {LONGEST_S:g}",
            )
        self.cells.age_s += np.float32(seconds)
        self.clock_s += seconds
        self.revision += 1

    @property
    def age_s(self) -> float:
        """Seconds since most of its cells were written; 0 of a perfect one, which no time changes.

        A cell counts as no younger than the chip's least age. Dies that nothing was written to are
        as old as their clock.
        """
        if self.perfect:
            return 0.0
        state = self.cells
        ages = state.age_s[state.level != UNWRITTEN]
        oldest = float(np.median(ages)) if ages.size else self.clock_s
        return max(oldest, self.attached().retention.youngest_s)

    def held_us(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What cells (addresses, any shape) conduct now, in µS."""
        chip, state = self.attached(), self.cells
        g = state.g_us.reshape(-1)[cells]
        if self.perfect or not retention.changes(chip):
            return g
        level = state.level.reshape(-1)[cells]
        age = np.maximum(state.age_s.reshape(-1)[cells], chip.retention.youngest_s)
        moved = (state.stuck.reshape(-1)[cells] == Stuck.FREE) & (level != UNWRITTEN) & (age > 0)
        target = np.asarray(chip.cell.g_levels_us)[level[moved]]
        write = state.writes.reshape(-1)[cells[moved]] - 1
        where, streams = cells[moved], retention.CELL
        g[moved] = aged_us(chip, self.seed, streams, where, g[moved], target, age[moved], write)
        return g

    def reference_held_us(self, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What the reference columns' cells conduct now, in µS, by number of their wordline.

        They were written when the die was made.
        """
        chip, g = self.attached(), self.cells.reference_us.reshape(-1)[lines]
        moved, clock_s = g > 0, max(self.clock_s, chip.retention.youngest_s)
        if self.perfect or not retention.changes(chip) or clock_s == 0:
            return g
        levels_us = chip.cell.g_levels_us
        target = np.full(int(moved.sum()), levels_us[len(levels_us) // 2])
        age = np.full(target.shape, clock_s)
        streams = retention.REFERENCE
        g[moved] = aged_us(chip, self.seed, streams, lines[moved], g[moved], target, age)
        return g

    def save(self, path: str | Path) -> None:
        """Write the die to a file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        chip = self.attached().to_dict()
        die_file.write(path, DieEntry(self.seed, self.perfect, chip, self.clock_s), self.cells)

    @staticmethod
    @read_as("die")
    def load(path: str | Path) -> Die:
        """Read a die file.

        Raises:
            DeviceError: the file is missing, damaged or not what its format says.
        """
        entry, chip, cells = die_file.read(path)
        return Die(entry["seed"], entry["perfect"], chip, entry["clock_s"], _cells=cells)

    def attached(self) -> Chip:
        """The design this is a specimen of.

        Raises:
            DeviceError: the die was never attached to a chip.
        """
        if self.chip is None:
            raise DeviceError("the die belongs to no chip yet", where=self.name)
        return self.chip

    def _virgin(self, chip: Chip, first: int, arrays: int) -> Cells:
        rows, cols = chip.array.rows, chip.array.cols
        shape = (arrays - first, rows, cols)
        levels_us, virgin_us = chip.cell.g_levels_us, chip.cell.virgin_us
        virgin_us = chip.cell.g_min_us if virgin_us is None else virgin_us
        found = Cells(
            level=np.full(shape, UNWRITTEN, np.int16),
            writes=np.zeros(shape, np.uint32),
            stuck=np.zeros(shape, np.uint8),
            g_us=np.full(shape, virgin_us, np.float32),
            reference_us=np.full(shape[:2], levels_us[len(levels_us) // 2], np.float32),
            age_s=np.zeros(shape, np.float32),
            **unread(chip, shape),
        )
        if self.perfect:
            return found
        for here in parts(arrays - first, rows * cols, _AT_ONCE):
            start, end = first + here.start, first + here.stop
            cell = np.arange(start * rows * cols, end * rows * cols).reshape(-1, rows, cols)
            line = np.arange(start * rows, end * rows).reshape(-1, rows)
            stuck, dead_row = draw_faults(chip, self.seed, cell, line)
            if stuck.any():  # what was never touched takes no memory
                found.stuck[here] = stuck
            found.g_us[here] = with_faults(chip, stuck, virgin_us)
            reference = reference_us(chip, self.seed, line)
            found.reference_us[here] = np.where(dead_row, 0.0, reference)
        return found
