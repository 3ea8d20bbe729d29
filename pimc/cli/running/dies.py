"""The dies that ``pimc run`` and ``pimc eval`` read: drawn, programmed or perfect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.command import warned
from pimc.cli.options.fields import flag, option
from pimc.cli.options.single import device_option, ir_drop_option
from pimc.cli.options.values import DURATION, FILE

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.physics.ir_drop import Method
    from pimc.runtime.session import Session
    from pimc.studies.drawn import Reading

__all__ = ["DRAWN", "DieOptions", "one_of", "session"]

#: Dies that are drawn where none is named.
DRAWN = 5


@dataclass(frozen=True)
class DieOptions:
    """Which chip is read, and how."""

    die: Path | None = option(
        "--die",
        type=FILE,
        metavar="DIE",
        help="A programmed die: a file, or what --device makes of it; without, dies are drawn from"
        " --seed.",
    )
    device: str = device_option(
        "See `pimc devices`; cuda or mps: the simulated chip, computed there."
    )
    age: float | None = option(
        "--age",
        type=DURATION,
        help="Time between writing and reading a drawn die: 1d; of a chip on a bench, for an image"
        " that follows drift.",
    )
    ideal: bool = flag(
        "--ideal", help="Perfect cells without noise, read by the chip's converters."
    )
    ir_drop: Method | None = ir_drop_option()

    def reading(self) -> Reading:
        """How drawn dies are read."""
        from pimc.runtime.read.processor import driver_and_processor
        from pimc.studies.drawn import Reading

        driver, processor = driver_and_processor(self.device)
        return Reading(self.age or 0.0, self.ir_drop or "first", processor, driver)


def one_of(options: Mapping[str, object]) -> None:
    """Make sure that no more than one of these options was given.

    Raises:
        UsageError: two were.
    """
    from pimc.errors import UsageError

    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="give one of them")


def session(image: Image, seed: int, dies: DieOptions) -> Session:
    """A session on perfect cells, on a programmed die or chip, or on a die drawn from ``seed``.

    Raises:
        UsageError: options that exclude each other.
        DeviceError: there is no such die file, or the device cannot be opened.
    """
    from pimc.errors import DeviceError, UsageError
    from pimc.runtime.die.die import Die
    from pimc.runtime.door.abilities import age_of
    from pimc.runtime.door.drivers import open_device, require_programmed, simulates
    from pimc.runtime.read.processor import driver_and_processor
    from pimc.runtime.session import Session

    die, ideal, ir_drop = dies.die, dies.ideal, dies.ir_drop
    driver, processor = driver_and_processor(dies.device)
    simulated = simulates(driver)
    drawn = die is None and simulated and not ideal
    told = dies.age is not None and not simulated and image.drift is not None
    if dies.age is not None and not drawn and not told:
        raise UsageError(
            "--age is for dies that are drawn from --seed", hint="a die file ages by `pimc age`"
        )
    if ideal:
        one_of({"--ideal": ideal, "--ir-drop": ir_drop})
        return Session(image, die=Die.ideal(), seed=seed, device=processor)
    if drawn:
        return dies.reading().session(image, seed)
    if die is not None and simulated and not die.exists():
        raise DeviceError("no such die file", str(die), "make it with `pimc program`")
    chip = open_device(driver, image, die=die, seed=seed, ir_drop=ir_drop, processor=processor)
    require_programmed(image, chip)
    if image.drift is not None and not told and age_of(chip) is None:
        text = f"nobody says how old the cells of {chip.name} are, they count as fresh: give --age"
        warned([text])
    return Session(image, die=chip, device=processor, age_s=dies.age if told else None)
