"""``pimc zoo run``: Compile a network of the zoo, measure it, and recover dies of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.command import Report, Settings, command, note
from pimc.cli.listing.zoo_get import networks_folder
from pimc.cli.options.fields import argument, flag, option
from pimc.cli.options.task import told_of
from pimc.cli.options.values import NETWORK
from pimc.cli.text import facts

if TYPE_CHECKING:
    from pimc.zoo.get import Obtained

__all__ = ["COMMAND", "RunArguments", "run"]


@dataclass(frozen=True)
class RunArguments:
    """What ``pimc zoo run`` takes."""

    name: str = argument(type=NETWORK, metavar="NETWORK")
    dies: int | None = option(
        "--dies", type=click.IntRange(0),
        help="Dies, drawn from --seed on; 0: float and perfect cells alone [default: as the "
        "record says].",
    )  # fmt: skip
    calib: int | None = option(
        "--calib-limit", type=click.IntRange(2),
        help="Only the first calibration samples [default: as the record says].",
    )  # fmt: skip
    limit: int | None = option(
        "--limit", type=click.IntRange(1),
        help="Judge on the first samples only [default: as the record says].",
    )  # fmt: skip
    folder: Path | None = networks_folder()
    update: bool = flag("--update", help="Write what was measured into the network's record.")


def run(settings: Settings, arguments: RunArguments) -> Report:
    """Measure a network of the zoo: float, perfect cells, dies as programmed and recovered.

    It is fetched first where it is not there. With the same seed and samples the figures come out
    as `pimc zoo list` shows them; weights that are trained here vary a little between machines. A
    chip.toml that was changed in the network's folder is used, and the summary says so.
    """
    from pimc.errors import UsageError
    from pimc.zoo.get import get
    from pimc.zoo.record import network, update

    known = network(arguments.name)
    partial = arguments.calib is not None or arguments.limit is not None
    if arguments.update and partial:
        raise UsageError(
            "the record holds figures of all samples that it names",
            where="--update",
            hint="leave --limit and --calib-limit out",
        )
    # Torch takes its time: what is wrong with the arguments is said before.
    from pimc.tasks.find import task_named
    from pimc.zoo.page import HEADER, row
    from pimc.zoo.run import Limits
    from pimc.zoo.run import run as measure

    obtained = get(known, arguments.folder)
    note(f"{known.title}: {obtained.folder}", settings)
    own_chip = "chip.toml" in obtained.edited
    if own_chip:
        _tell_own_chip(obtained, settings, recorded=arguments.update)
    count = known.dies if arguments.dies is None else arguments.dies
    measured = measure(
        obtained,
        settings.seeds(count),
        limits=Limits(arguments.calib, arguments.limit),
        progress=settings.progress,
    )
    written = update(known.name, measured) if arguments.update else None
    data = {
        "network": known.name,
        "folder": str(obtained.folder),
        **told_of(task_named(known.task)),
        **asdict(measured),
        "own_chip": own_chip,
        "record": None if written is None else str(written),
    }
    pairs = list(zip(HEADER, row(known, measured), strict=True))
    pairs += [("chip", "chip.toml of the folder, as edited" if own_chip else known.chip)]
    pairs += [("calibrated on", f"{measured.calib:,} samples")]
    pairs += [("record", "" if written is None else str(written))]
    return Report(data, facts(pairs))


def _tell_own_chip(obtained: Obtained, settings: Settings, *, recorded: bool) -> None:
    """Say that the chip is not that of the record, whose figures are not to be compared.

    Raises:
        UsageError: the figures were to be recorded.
    """
    from pimc.errors import UsageError

    chip, path = obtained.network.chip, obtained.path("chip.toml")
    back = f"to have {chip} again, remove this file"
    if recorded:
        raise UsageError(f"was edited; the record holds figures of {chip}", str(path), back)
    note(f"{path} was edited and is used as it is; {back}", settings)


COMMAND = command(
    "zoo run",
    RunArguments,
    run,
    example="pimc zoo run fashion-resnet8 --dies 0 --limit 100 --folder zoo",
    needs=("torch",),
)
