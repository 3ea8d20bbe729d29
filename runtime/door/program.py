"""Write an image into a device, in such a way that it can be cut at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from pimc.errors import DeviceError, RecoveryError, UsageError
from pimc.files.writing.journal import appending, entries_of
from pimc.image.changes import alike
from pimc.image.image import Image
from pimc.runtime.door.abilities import CountsWrites, Savable
from pimc.runtime.door.device import Device
from pimc.runtime.door.endurance import NONE, require_endurance, worn, worn_out

#: So many cells that all refuse are no coincidence; fewer may all be stuck or out of pulses.
PROOF = 8


@dataclass(frozen=True)
class Programmed:
    """What programming did.

    Attributes:
        cells_written: cells that were asked to hold another level.
        cells_kept: cells that already were asked for theirs.
        arrays_written: arrays with a cell that was written.
        cells_missed: of the written cells those whose write did not go through.
        writes: how many cells were written to each level; not compared.
    """

    cells_written: int
    cells_kept: int
    arrays_written: int
    cells_missed: int = 0
    writes: tuple[int, ...] = field(default=(), compare=False, repr=False)


def program(
    image: Image,
    device: Device,
    *,
    skip: frozenset[int] = frozenset(),
    done: Callable[[int], None] = lambda array: None,
) -> Programmed:
    """Write every cell whose level differs from what the device last was asked to hold.

    Args:
        skip: arrays that are already done.
        done: called after each array with its number, when the device has taken it.

    Raises:
        DeviceError: the device failed, an array took none of many writes, or cells would be
            written more often than they endure; then none is.
    """
    limit = image.chip.programming.endurance_writes
    arrays = [array for array in range(image.arrays) if array not in skip]
    _require_endurance(image, device, arrays, limit)
    written = kept = touched = missed = 0
    writes = np.zeros(image.chip.cell.levels, np.int64)
    for array in arrays:
        cells, levels, stale = _wanted(image, device, array)
        missed += write(device, cells[stale], levels[stale], limit=limit)
        writes += np.bincount(levels[stale], minlength=len(writes))
        written += int(stale.sum())
        kept += int((~stale).sum())
        touched += bool(stale.any())
        done(array)
    return Programmed(written, kept, touched, missed, tuple(writes.tolist()))


def _cells(image: Image, array: int) -> npt.NDArray[np.int64]:
    """Cells of an array that the image uses."""
    size = image.chip.array.rows * image.chip.array.cols
    return np.flatnonzero(image.used[array]) + array * size


def _wanted(
    image: Image, device: Device, array: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Cells of an array, their levels, and which of them are to be written."""
    cells = _cells(image, array)
    levels = image.levels.reshape(-1)[cells]
    return cells, levels, device.written(cells) != levels


def _require_endurance(image: Image, device: Device, arrays: list[int], limit: int) -> None:
    """Nothing is written where not all can be; of a device that does not count, all can."""
    counted = isinstance(device, CountsWrites)
    if not counted or not any(worn(device, _cells(image, n), limit).any() for n in arrays):
        return
    tired = total = 0
    for array in arrays:
        cells, _, stale = _wanted(image, device, array)
        tired += int(worn(device, cells[stale], limit).sum())
        total += int(stale.sum())
    if tired:
        raise worn_out(device, tired, total, limit)


def require_same_network(image: Image, device: Device) -> None:
    """Make sure that a device holds nothing, or an image of the same network.

    A device tells levels and no names, so it is by the levels that a network is known.

    Raises:
        UsageError: it holds another network, or this one laid out otherwise.
    """
    held, wanted = [], []
    for array in range(image.arrays):
        cells = _cells(image, array)
        found = device.written(cells)
        written = found >= 0
        held.append(found[written])
        wanted.append(image.levels.reshape(-1)[cells[written]].astype(np.int64))
    one, two = np.concatenate(held), np.concatenate(wanted)
    if not alike(one, two):
        raise UsageError(
            f"holds another network than {image.model.name}, or the same laid out otherwise: "
            f"{int((one != two).sum()):,} of the {len(one):,} written cells that the image uses "
            "would be replaced",
            where=device.name,
            hint="write it all the same with --force, or name another die",
        )


def write(
    device: Device,
    cells: npt.NDArray[np.int64],
    levels: npt.NDArray[np.uint16],
    *,
    limit: int,
    before: npt.NDArray[np.int64] = NONE,
) -> int:
    """Write cells; returns how many did not take it. A chip has some stuck cells.

    Args:
        limit: writes that a cell endures.
        before: cells that were written so far, for devices that do not count; see
            :func:`~pimc.runtime.door.endurance.worn`.

    Raises:
        DeviceError: not one of :data:`PROOF` cells or more could be written, or some have had
            as many writes as they endure; then none is written.
    """
    if not len(cells):
        return 0
    require_endurance(device, cells, limit, before)
    missed = int((~device.program(cells, levels)).sum())
    if missed == len(cells) >= PROOF:
        raise DeviceError(
            f"not one of {missed:,} cells could be written",
            where=device.name,
            hint="check the connection and the chip's supply",
        )
    return missed


def require_kept(
    image: Image,
    device: Device,
    cells: npt.NDArray[np.int64],
    levels: npt.NDArray[np.uint16],
) -> None:
    """Make sure that a device holds what a recovery that was cut has written so far.

    Args:
        image: what the recovery had made of the image when its checkpoint was saved.
        cells, levels: writes that it was about to do then, and may have done.

    Raises:
        RecoveryError: cells were last asked to hold something else: the writes were lost, as
            those of a device that is savable and not resumable are, or another program wrote.
    """
    used = np.flatnonzero(image.used)
    wanted = image.levels.reshape(-1).astype(np.int64)
    begun = wanted.copy()
    begun[cells] = levels
    found = device.written(used)
    lost = int(((found != wanted[used]) & (found != begun[used])).sum())
    if lost:
        raise RecoveryError(
            f"{lost:,} of {len(used):,} cells do not hold what this recovery has written",
            where=device.name,
            hint="write the image with `pimc program`, and recover without --resume",
        )


def journal_path(die: Path | None, image: Path, device: Device) -> Path:
    """Where the journal of a device lies that is programmed with ``image``.

    Beside the die file, or the image where none is named. Where ``--die`` is an address with
    slashes in it there is no such folder; then in the current one, named by the escaped address.
    """
    beside = Path(f"{die or image}.journal")
    if die is None or isinstance(device, Savable) or beside.parent.is_dir():
        return beside
    return Path(f"{quote(str(die), safe='')}.journal")


class Journal:
    """Which arrays of an image a device already holds: one JSON line an array.

    The first line names image and device; a journal of others is refused.
    """

    def __init__(self, path: Path, image: Image, device: Device) -> None:
        self.path = path
        self._header = {"image": image.sha256, "device": device.name}

    def finished(self) -> frozenset[int]:
        """Arrays that were finished; none without a journal.

        Raises:
            DeviceError: the journal is of another image or device.
        """
        if not self.path.exists():
            return frozenset()
        again = "program without --resume to start again"
        try:
            entries = entries_of(self.path)
            finished = frozenset(map(_array_of, entries[1:]))
        except (OSError, ValueError, KeyError) as cause:
            raise DeviceError("not a journal", where=str(self.path), hint=again) from cause
        if entries and entries[0] != self._header:
            raise DeviceError(
                "the journal is of another image or device", where=str(self.path), hint=again
            )
        return finished

    @contextmanager
    def open(self, *, resume: bool) -> Iterator[Callable[[int], None]]:
        """Gives the function that notes an array as done.

        Raises:
            UsageError: the journal cannot be written; the function, too.
        """
        with appending(self.path, resume=resume) as add:
            if not self.path.stat().st_size:
                add(self._header)
            yield lambda array: add({"array": array})

    def remove(self) -> None:
        """The job is done; nothing to resume."""
        self.path.unlink(missing_ok=True)


def _array_of(entry: Mapping[str, Any]) -> int:
    """The array that an entry of a journal calls done."""
    array = entry["array"]
    if type(array) is not int or array < 0:
        raise ValueError(f"{array!r} is no array")
    return array
