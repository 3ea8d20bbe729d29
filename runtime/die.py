"""A simulated die: what the cells of one physical specimen really hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc import container
from pimc.chip import Chip
from pimc.errors import DeviceError
from pimc.runtime import philox

FORMAT = "pimc-die"
VERSION = 1
SUFFIX = ".die"

#: Level of a cell that was never written.
UNWRITTEN = -1


class Stream(IntEnum):
    """Independent streams of a die's random numbers; the values are part of the physics."""

    PROGRAMMING = 0
    STUCK = 1
    REFERENCE = 2
    DEAD_ROW = 3
    DEAD_COL = 4
    ADC_GAIN = 32
    ADC_OFFSET = 33


class Stuck(IntEnum):
    """What holds a cell."""

    FREE = 0
    AT_G_MIN = 1
    AT_G_MAX = 2
    #: On a dead wordline or bitline: no current at all.
    OPEN = 3


@dataclass
class Cells:
    """State of a die's cells, (arrays, rows, cols) each; ``reference_us`` is (arrays, rows),
    zero on dead wordlines.
    """

    level: npt.NDArray[np.int16]
    writes: npt.NDArray[np.uint32]
    stuck: npt.NDArray[np.uint8]
    g_us: npt.NDArray[np.float32]
    reference_us: npt.NDArray[np.float32]


@dataclass
class Die:
    """One specimen of a chip. Writing changes it; that is what writing does.

    A die is first only a seed; it becomes a die of a chip when it is attached to one.

    Attributes:
        seed: key of all its random numbers.
        perfect: no programming error, no stuck cell, no read noise.
        chip: the design, once attached.
    """

    seed: int = 0
    perfect: bool = False
    chip: Chip | None = None
    _cells: Cells | None = field(default=None, repr=False)

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

    def program(self, cells: npt.NDArray[np.int64], levels: npt.NDArray[Any]) -> None:
        """Write ``levels`` into ``cells`` (addresses); every write draws its own error."""
        chip, state = self.attached(), self.cells
        index = np.unravel_index(cells, state.level.shape)
        target = np.asarray(chip.cell.g_levels_us)[levels]
        if self.perfect:
            g = target
        else:
            draws = philox.normal(self.seed, Stream.PROGRAMMING, cells, state.writes[index])
            g = np.maximum(target + draws * chip.cell.sigma.sigma_us(target), 0.0)
        state.level[index] = levels
        state.writes[index] += 1
        state.g_us[index] = _held(chip, state.stuck[index], g)

    def save(self, path: str | Path) -> None:
        """Write the die to a file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        chip = self.attached()
        manifest = {"seed": self.seed, "perfect": self.perfect, "chip": chip.to_dict()}
        container.save(path, *container.seal(FORMAT, VERSION, manifest, vars(self.cells)))

    @staticmethod
    def load(path: str | Path) -> Die:
        """Read a die file.

        Raises:
            DeviceError: the file is missing, damaged or not a die.
        """
        manifest, tensors = container.load(path, FORMAT, VERSION, DeviceError)
        chip = Chip.from_dict(manifest["chip"])
        # The container's tensors are read-only views; a die is written to.
        cells = Cells(**{name: value.copy() for name, value in tensors.items()})
        return Die(manifest["seed"], manifest["perfect"], chip, cells)

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
        cell = np.arange(first * rows * cols, arrays * rows * cols).reshape(shape)
        line = np.arange(first * rows, arrays * rows).reshape(shape[:2])
        stuck, dead_row = np.zeros(shape, np.uint8), np.zeros(shape[:2], np.bool_)
        if not self.perfect:
            stuck, dead_row = self._faults(chip, cell, line)
        levels_us = np.asarray(chip.cell.g_levels_us)
        reference = np.full(shape[:2], levels_us[len(levels_us) // 2])
        if not self.perfect:
            draws = philox.normal(self.seed, Stream.REFERENCE, line)
            reference = np.maximum(reference + draws * chip.cell.sigma.sigma_us(reference), 0.0)
        return Cells(
            level=np.full(shape, UNWRITTEN, np.int16),
            writes=np.zeros(shape, np.uint32),
            stuck=stuck,
            g_us=_held(chip, stuck, chip.cell.g_min_us).astype(np.float32),
            reference_us=np.where(dead_row, 0.0, reference).astype(np.float32),
        )

    def _faults(
        self, chip: Chip, cell: npt.NDArray[np.int64], line: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """What holds each cell, and which wordlines are dead, for numbers of cells and lines."""
        faults = chip.faults
        draw = philox.uniform(self.seed, Stream.STUCK, cell)
        at_max = draw < faults.stuck_gmax_rate
        at_min = ~at_max & (draw < faults.stuck_gmax_rate + faults.stuck_gmin_rate)
        rows, cols = cell.shape[1:]
        column = line[:, :1] // rows * cols + np.arange(cols)
        dead_row = philox.uniform(self.seed, Stream.DEAD_ROW, line) < faults.dead_row_rate
        dead_col = philox.uniform(self.seed, Stream.DEAD_COL, column) < faults.dead_col_rate
        dead = dead_row[:, :, None] | dead_col[:, None, :]
        kind = np.select([dead, at_max, at_min], [Stuck.OPEN, Stuck.AT_G_MAX, Stuck.AT_G_MIN], 0)
        return kind.astype(np.uint8), dead_row


def _held(chip: Chip, stuck: npt.NDArray[np.uint8], g_us: npt.ArrayLike) -> npt.NDArray[Any]:
    """Conductances of cells that would hold ``g_us`` if nothing else held them."""
    return np.choose(stuck, [g_us, chip.cell.g_min_us, chip.cell.g_max_us, 0.0])
