"""``pimc.program``: write an image into a chip, a die in memory or a die file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pimc.errors import DeviceError, UsageError
from pimc.files.writing.alone import alone
from pimc.functions.given import AnyDie, file_of, image_of
from pimc.image.image import Image
from pimc.progress import Progress, silent, ticking
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import flush
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import open_device, simulates
from pimc.runtime.door.program import Journal, Programmed, journal_path, require_same_network
from pimc.runtime.door.program import program as write
from pimc.runtime.door.sim_driver import simulated

__all__ = ["CHECKPOINT_S", "Written", "program"]

#: Seconds between two savings of a die file; arrays are noted as done after it is saved.
CHECKPOINT_S = 2.0


@dataclass(frozen=True)
class Written:
    """What programming did.

    Attributes:
        image: what was written.
        device: name of the chip.
        done: cells written, kept and missed.
        arrays_resumed: arrays that an earlier run had finished.
        seconds: time it took.
    """

    image: Image = field(repr=False)
    device: str
    done: Programmed
    arrays_resumed: int
    seconds: float


def program(
    image: Image | str | Path,
    die: AnyDie = None,
    *,
    device: str = "sim",
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Written:
    """Write every cell whose level differs from what the chip last was asked to hold.

    A file is written so that the run can be cut at any moment: a journal beside it says what is
    done, and goes when all is.

    Args:
        image: an image or its file.
        die: a die or an open chip; or the die file of a simulated die, made if there is none; or
            what the driver ``device`` makes of it.
        device: name of the driver, where ``die`` is not open yet.
        seed: of a die that is made.
        resume: go on where a run of the same image stopped.
        force: write also over another network.
        progress: told of the arrays.

    Raises:
        UsageError: a simulated die without a file; a chip that holds another network; ``resume``
            for a chip in memory, of which there is no journal.
        ImageError: the image cannot be read.
        DeviceError: the chip failed.
    """
    loaded = image_of(image)
    start = time.perf_counter()
    if die is not None and not isinstance(die, str | Path):
        if resume:
            raise UsageError("a chip in memory has no journal", hint="leave resume out")
        chip = _in_memory(loaded, die, seed)
        if not force:
            require_same_network(loaded, chip)
        with ticking(progress, "arrays", loaded.arrays) as tick:
            result = write(loaded, chip, done=lambda array: tick())
        return Written(loaded, chip.name, result, 0, time.perf_counter() - start)
    file, drawn = file_of(die), simulates(device)
    if file is None and drawn:
        raise UsageError("a simulated die needs a file", hint="name it: --die chip7.die")
    with alone(file if drawn else None, DeviceError):
        chip = open_device(device, loaded, die=file, seed=seed)
        beside = Path(image) if isinstance(image, str | Path) else Path(loaded.model.name)
        journal = Journal(journal_path(file, beside, chip), loaded, chip)
        with alone(journal.path, DeviceError):
            return _noted(loaded, chip, file, journal, progress, resume=resume, force=force)


def _noted(
    image: Image,
    chip: Device,
    file: Path | None,
    journal: Journal,
    progress: Progress,
    *,
    resume: bool,
    force: bool,
) -> Written:
    """Write an image into a chip, or what its journal does not call done."""
    finished = _still_held(image, chip, journal) if resume else frozenset[int]()
    # Where a journal of this image goes on it was asked before it began.
    if not (force or (resume and journal.path.exists())):
        require_same_network(image, chip)
    start = time.perf_counter()
    with journal.open(resume=resume) as noted:
        checkpoint = _Checkpoint(chip, file, noted)
        with ticking(progress, "arrays", image.arrays - len(finished)) as tick:

            def done(array: int) -> None:
                checkpoint(array)
                tick()

            result = write(image, chip, skip=finished, done=done)
        checkpoint.save()
    journal.remove()
    seconds = time.perf_counter() - start
    return Written(image, chip.name, result, len(finished), seconds)


def _in_memory(image: Image, die: Die | Device, seed: int) -> Device:
    if not isinstance(die, Die):
        return die
    return simulated(die, image, seed=seed, ir_drop="first", processor="cpu", converters=True)


@dataclass
class _Checkpoint:
    """Notes arrays as done, but not before the die that holds them is saved."""

    device: Device
    die: Path | None
    noted: Callable[[int], None]
    pending: list[int] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)

    def __call__(self, array: int) -> None:
        """An array is done."""
        self.pending.append(array)
        if time.monotonic() - self.saved_at >= CHECKPOINT_S:
            self.save()

    def save(self) -> None:
        """Save the die, then note what it holds."""
        flush(self.device, self.die)
        for array in self.pending:
            self.noted(array)
        self.pending.clear()
        self.saved_at = time.monotonic()


def _still_held(image: Image, device: Device, journal: Journal) -> frozenset[int]:
    """Arrays the journal calls finished, without those that the device does not hold.

    A die file may have been removed or written to since.
    """
    per_array = image.chip.array.rows * image.chip.array.cols
    held = []
    for array in sorted(journal.finished()):
        if array >= image.arrays:
            continue
        inside = np.flatnonzero(image.used[array])
        levels = image.levels[array].reshape(-1)[inside]
        if (device.written(inside + array * per_array) == levels).all():
            held.append(array)
    return frozenset(held)
