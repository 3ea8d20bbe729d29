"""``pimc program``: Write an image into a chip or a die file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.command import Report, Settings, command, note
from pimc.cli.options.fields import flag, option
from pimc.cli.options.single import device_option, image_argument
from pimc.cli.options.values import FILE
from pimc.cli.text import engineering, facts

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.door.device import Device
    from pimc.runtime.door.program import Journal, Programmed

__all__ = ["CHECKPOINT_S", "COMMAND", "ProgramArguments", "program"]

#: Seconds between two savings of a die file; arrays are noted as done after it is saved.
CHECKPOINT_S = 2.0


@dataclass(frozen=True)
class ProgramArguments:
    """What ``pimc program`` takes."""

    image: Path | None = image_argument()
    device: str = device_option()
    die: Path | None = option(
        "--die",
        type=FILE,
        metavar="DIE",
        help="Die file of a simulated die, made if there is none; or what --device makes of it.",
    )
    resume: bool = flag("--resume", help="Go on where an interrupted run stopped.")
    force: bool = flag("--force", help="Write also over another network.")


def program(settings: Settings, arguments: ProgramArguments) -> Report:
    """Write IMAGE into a chip, or into a die file that stands for one.

    Only cells whose level differs from what was last asked for are written. The run can be cut
    at any moment; --resume then does the rest. A new die is drawn from --seed. A die that holds
    another network is only written with --force.
    """
    from pimc.cli.lookup import find_image
    from pimc.errors import DeviceError, UsageError
    from pimc.files.writing.alone import alone
    from pimc.image.image import Image
    from pimc.runtime.door.drivers import open_device, simulates
    from pimc.runtime.door.program import Journal, journal_path

    path = find_image(arguments.image)
    loaded = Image.load(path)
    device, die = arguments.device, arguments.die
    simulated = simulates(device)
    if die is None and simulated:
        raise UsageError("a simulated die needs a file", hint="name it: --die chip7.die")
    with alone(die if simulated else None, DeviceError):
        chip = open_device(device, loaded, die=die, seed=settings.seed)
        journal = Journal(journal_path(die, path, chip), loaded, chip)
        with alone(journal.path, DeviceError):
            return _programmed(
                settings, loaded, chip, die, journal, resume=arguments.resume, force=arguments.force
            )


COMMAND = command(
    "program", ProgramArguments, program, example="pimc program model.pimc --die chip7.die --seed 7"
)


def _programmed(
    settings: Settings,
    loaded: Image,
    chip: Device,
    die: Path | None,
    journal: Journal,
    *,
    resume: bool,
    force: bool,
) -> Report:
    """Write an image into a device, or what its journal does not call done."""
    from pimc.progress import ticking
    from pimc.runtime.door.program import program as write
    from pimc.runtime.door.program import require_same_network

    finished = _still_held(loaded, chip, journal) if resume else frozenset[int]()
    # Where a journal of this image goes on it was asked before it began.
    if not (force or (resume and journal.path.exists())):
        require_same_network(loaded, chip)
    start = time.perf_counter()
    try:
        with journal.open(resume=resume) as noted:
            checkpoint = _Checkpoint(chip, die, noted)
            left = loaded.arrays - len(finished)
            with ticking(settings.progress, "arrays", left) as tick:

                def done(array: int) -> None:
                    checkpoint(array)
                    tick()

                result = write(loaded, chip, skip=finished, done=done)
            checkpoint.save()
    except KeyboardInterrupt:
        note("programming was cut; go on with --resume", settings)
        raise
    journal.remove()
    return _report(loaded, chip, die, result, len(finished), time.perf_counter() - start)


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
        from pimc.runtime.door.abilities import flush

        flush(self.device, self.die)
        for array in self.pending:
            self.noted(array)
        self.pending.clear()
        self.saved_at = time.monotonic()


def _still_held(image: Image, device: Device, journal: Journal) -> frozenset[int]:
    """Arrays the journal calls finished, without those that the device does not hold.

    A die file may have been removed or written to since.
    """
    import numpy as np

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


def _report(
    image: Image,
    device: Device,
    die: Path | None,
    result: Programmed,
    resumed: int,
    seconds: float,
) -> Report:
    from pimc.chip.write_cost import writing

    cost = writing(image.chip, result.writes)
    data = {
        "device": device.name,
        "die": None if die is None else str(die),
        "cells_written": result.cells_written,
        "cells_missed": result.cells_missed,
        "cells_kept": result.cells_kept,
        "arrays_written": result.arrays_written,
        "arrays_resumed": resumed,
        "estimated_pulses": cost.pulses,
        "estimated_missed": cost.missed,
        "estimated_energy_pj": cost.energy_pj,
        "estimated_seconds": cost.seconds,
        "seconds": round(seconds, 3),
    }
    before = f", {resumed:,} arrays were done before" if resumed else ""
    pairs = [
        ("device", device.name + (f", {die}" if die is not None else "")),
        ("written", f"{result.cells_written:,} cells in {result.arrays_written:,} arrays"),
        ("missed", f"{result.cells_missed:,} cells did not take it" * bool(result.cells_missed)),
        ("kept", f"{result.cells_kept:,} cells that already held their level{before}"),
        (
            "estimate",
            f"{cost.pulses:,.0f} pulses, {engineering(cost.seconds, 's')} on the chip, "
            f"{engineering(cost.energy_pj * 1e-12, 'J')}"
            + f", {cost.missed:,.0f} cells out of pulses"
            * (cost.missed >= 0.5),
        ),
    ]
    return Report(data, facts(pairs), answer=False)
