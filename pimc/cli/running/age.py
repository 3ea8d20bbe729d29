"""``pimc age``: Let time pass for a die file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, option
from pimc.cli.options.values import DURATION, FILE
from pimc.cli.text import facts

__all__ = ["COMMAND", "AgeArguments", "age"]


@dataclass(frozen=True)
class AgeArguments:
    """What ``pimc age`` takes."""

    time: float = argument(type=DURATION)
    die: Path = option(
        "--die", type=FILE, required=True, help="Die file; it is rewritten in place."
    )


def age(settings: Settings, arguments: AgeArguments) -> Report:
    """Let TIME pass for a die file: 90s, 5min, 12h, 1d or 10y.

    What that does to the cells says the chip's [retention].
    """
    from pimc.chip.element import Place
    from pimc.chip.elements import acting_on
    from pimc.errors import DeviceError
    from pimc.files.writing.alone import alone
    from pimc.runtime.die.die import Die

    with alone(arguments.die, DeviceError):
        specimen = Die.load(arguments.die)
        specimen.age(arguments.time)
        specimen.save(arguments.die)
    chip = specimen.attached()
    kind = chip.retention.kind
    own = sorted(acting_on(chip, Place.TIME) - {"retention"})
    changes = ", ".join([kind] * (kind != "none") + own)
    data = {
        "die": str(arguments.die),
        "passed_s": arguments.time,
        "clock_s": specimen.clock_s,
        "retention": kind,
    }
    pairs = [
        ("die", f"{specimen.name}, {arguments.die}"),
        ("passed", f"{arguments.time:,.10g} s, {specimen.clock_s:,.10g} s since it was made"),
        ("retention", changes or "none: the chip's cells do not change"),
    ]
    return Report(data, facts(pairs), answer=False)


COMMAND = command("age", AgeArguments, age, example="pimc age 1d --die chip7.die")
