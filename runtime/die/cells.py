"""The state of a die's cells, and how files of older versions say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.files.container import Manifest, Tensor
from pimc.files.migrate import Step
from pimc.files.schema import Range, tensor, tensors_of
from pimc.runtime.physics.disturb import disturbs
from pimc.runtime.physics.faults import Stuck

__all__ = [
    "CELL_TENSORS",
    "OLDEST_S",
    "STEPS",
    "STRESS",
    "UNWRITTEN",
    "Cells",
    "cell_ranges",
    "cell_sizes",
    "unread",
]

#: Level of a cell that was never written.
UNWRITTEN = -1
#: The greatest age of a die in seconds: thirty million years.
OLDEST_S = 1e15
#: Stress that sums of reads may reach.
STRESS: tuple[int, int] = (0, 2**62)
#: What no cell conducts, in µS.
_SHORT_US = 1e9

_LINE = ("arrays", "rows")
_CELL = (*_LINE, "cols")


@dataclass
class Cells:
    """State of a die's cells, (arrays, rows, cols) each; ``reference_us`` is (arrays, rows),
    zero on dead wordlines. Conductances are those right after the write, ``age_s`` ago.

    ``stress`` is (arrays, rows): what reads did to each wordline so far, in parts of a read at
    full scale (:mod:`pimc.runtime.physics.disturb`); ``stress_before`` is what of it came before
    the cell's last write, (arrays, 0, 0) on a chip whose reads disturb nothing.
    """

    level: npt.NDArray[np.int16] = field(
        metadata=tensor("int16", _CELL, "level asked for last, −1: never written", values="levels")
    )
    writes: npt.NDArray[np.uint32] = field(
        metadata=tensor("uint32", _CELL, "writes so far", values="counts")
    )
    stuck: npt.NDArray[np.uint8] = field(
        metadata=tensor("uint8", _CELL, "how it is stuck, 0: it is not", values="faults")
    )
    g_us: npt.NDArray[np.float32] = field(
        metadata=tensor("float32", _CELL, "right after the write", values="conductances")
    )
    reference_us: npt.NDArray[np.float32] = field(
        metadata=tensor("float32", _LINE, "of reference cells", values="conductances")
    )
    age_s: npt.NDArray[np.float32] = field(
        metadata=tensor("float32", _CELL, "seconds since the last write", values="ages")
    )
    stress: npt.NDArray[np.int64] = field(
        metadata=tensor("int64", _LINE, "what reads did so far", values="stress")
    )
    stress_before: npt.NDArray[np.int64] = field(
        metadata=tensor(
            "int64", ("arrays", "rows or 0", "cols or 0"), "before the last write",
            values="stress",
        )
    )  # fmt: skip


#: The tensors of a die file.
CELL_TENSORS = tensors_of(Cells)


def cell_sizes(chip: Chip) -> dict[str, int]:
    """Sizes of a die's tensors by the names of :class:`Cells`."""
    rows, cols = chip.array.rows, chip.array.cols
    kept = int(disturbs(chip))
    return {"rows": rows, "cols": cols, "rows or 0": rows * kept, "cols or 0": cols * kept}


def cell_ranges(chip: Chip) -> dict[str, Range]:
    """Ranges of what cells hold, by the names of :class:`Cells`."""
    return {
        "levels": (UNWRITTEN, chip.cell.levels - 1),
        "faults": (min(Stuck), max(Stuck)),
        # As many as a die may have, and then some that are added to before it is saved.
        "counts": (0, 2**31),
        "stress": STRESS,
        "conductances": (0, _SHORT_US),
        # Single precision adds up with errors, so cells may look older than their die.
        "ages": (0, 2 * OLDEST_S),
    }


def unread(chip: Chip, shape: tuple[int, ...]) -> dict[str, npt.NDArray[np.int64]]:
    """Stress of (arrays, rows, cols) cells that were never read."""
    before = shape if disturbs(chip) else (*shape[:1], 0, 0)
    return {"stress": np.zeros(shape[:2], np.int64), "stress_before": np.zeros(before, np.int64)}


def _with_time(
    manifest: Manifest, tensors: dict[str, Tensor]
) -> tuple[Manifest, dict[str, Tensor]]:
    """Version 2 added ages and stress: a die of before was just written and never read."""
    shape = tensors["level"].shape
    stress = unread(Chip.from_dict(manifest["chip"]), shape)
    return manifest, {**tensors, "age_s": np.zeros(shape, np.float32), **stress}


#: From each older version of the die file to the next.
STEPS: Mapping[int, Step] = {1: _with_time}
