"""``pimc program``: Write an image into a chip or a die file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.command import Report, Settings, command, note
from pimc.cli.options.fields import flag, option
from pimc.cli.options.single import device_option, image_argument
from pimc.cli.options.values import FILE
from pimc.cli.text import engineering, facts

if TYPE_CHECKING:
    from pimc.functions.program import Written

__all__ = ["COMMAND", "ProgramArguments", "program"]


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
    from pimc.image.image import Image

    image = Image.load(find_image(arguments.image))
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.functions.program import program as write

    try:
        written = write(
            image,
            arguments.die,
            device=arguments.device,
            seed=settings.seed,
            resume=arguments.resume,
            force=arguments.force,
            progress=settings.progress,
        )
    except KeyboardInterrupt:
        note("programming was cut; go on with --resume", settings)
        raise
    return _report(arguments.die, written)


COMMAND = command(
    "program", ProgramArguments, program, example="pimc program model.pimc --die chip7.die --seed 7"
)


def _report(die: Path | None, written: Written) -> Report:
    from pimc.chip.write_cost import writing

    result, resumed = written.done, written.arrays_resumed
    cost = writing(written.image.chip, result.writes)
    data = {
        "device": written.device,
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
        "seconds": round(written.seconds, 3),
    }
    before = f", {resumed:,} arrays were done before" if resumed else ""
    pairs = [
        ("device", written.device + (f", {die}" if die is not None else "")),
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
