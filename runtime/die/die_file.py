"""The die file: what a simulated die keeps between two commands, described once.

The container is that of images. Keys are those of :class:`DieEntry`, tensors those of
:class:`~pimc.runtime.die.cells.Cells`; rules say what must hold between tensors. All is asked at
every load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pimc.chip.design import Chip
from pimc.errors import ChipError, DeviceError, PimcError
from pimc.files import container
from pimc.files.manifest import read_object
from pimc.files.migrate import up_to_date
from pimc.files.schema import require
from pimc.files.strict import key
from pimc.runtime.die.cells import (
    CELL_TENSORS,
    OLDEST_S,
    STEPS,
    UNWRITTEN,
    Cells,
    cell_ranges,
    cell_sizes,
)

__all__ = ["FORMAT", "RULES", "SUFFIX", "VERSION", "DieEntry", "read", "require_cells", "write"]

FORMAT = "pimc-die"
VERSION = 2
SUFFIX = ".die"


@dataclass(frozen=True)
class DieEntry:
    """The keys of a die file's manifest, but for those that the container adds."""

    seed: int = field(
        metadata=key("int", "key of all random numbers", low=-(2**63), high=2**64 - 1)
    )
    perfect: bool = field(metadata=key("bool", "no error and no change of any kind"))
    chip: Mapping[str, Any] = field(metadata=key("table", "the chip, as in a chip file"))
    clock_s: float = field(
        default=0.0,
        metadata=key("float", "seconds that passed since it was made", low=0, high=OLDEST_S),
    )


def _writes_are_counted(cells: Cells) -> Iterator[tuple[str, str]]:
    """Cells with a level were written, and no others."""
    wrong = int(np.count_nonzero((cells.level != UNWRITTEN) != (cells.writes > 0)))
    if wrong:
        yield "writes", f"does not fit the levels of {wrong:,} cells"


def _stress_grows(cells: Cells) -> Iterator[tuple[str, str]]:
    """Reads before the last write are among the reads so far."""
    before = cells.stress_before
    if before.size and (before.max(axis=2) > cells.stress).any():
        yield "stress_before", "is more than stress"


#: What must hold between tensors: names of those that break it, and how.
RULES: tuple[Callable[[Cells], Iterator[tuple[str, str]]], ...] = (
    _writes_are_counted,
    _stress_grows,
)


def read(path: str | Path) -> tuple[dict[str, Any], Chip, Cells]:
    """The keys of a die file, its chip, and its cells, which may be written to.

    Raises:
        DeviceError: the file is missing, damaged or not what the format says; the key or tensor
            is named.
    """
    where = str(path)
    content = container.load(path, FORMAT, VERSION, DeviceError)
    entry = read_object(DieEntry, content[0], where, DeviceError)
    chip = _chip(entry["chip"], where)
    _, tensors = up_to_date(*content, VERSION, STEPS, DeviceError, where)
    require_cells(chip, tensors, DeviceError, where)
    # The container's tensors are read-only views; a die is written to.
    return entry, chip, Cells(**{name: tensors[name].copy() for name in CELL_TENSORS})


def write(path: str | Path, entry: DieEntry, cells: Cells) -> None:
    """Write a die file, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    container.save(path, *container.seal(FORMAT, VERSION, asdict(entry), vars(cells)))


def require_cells(
    chip: Chip,
    tensors: Mapping[str, Any],
    error: type[PimcError],
    where: str,
    *,
    named: Callable[[str], str] = str,
) -> None:
    """Make sure that tensors are the state of the cells of a die of ``chip``.

    Args:
        named: the name in the file.

    Raises:
        error: they are not; the tensor is named.
    """
    sizes, ranges = cell_sizes(chip), cell_ranges(chip)
    require(CELL_TENSORS, tensors, sizes, error, where, ranges=ranges, named=named)
    cells = Cells(**{name: tensors[name] for name in CELL_TENSORS})
    for rule in RULES:
        for name, problem in rule(cells):
            raise error(f"tensor {named(name)} {problem}", where, "write the file again")


def _chip(table: Mapping[str, Any], where: str) -> Chip:
    try:
        return Chip.from_dict(table)
    except ChipError as cause:
        raise DeviceError(f"chip: {cause.message}", where, cause.hint) from cause
