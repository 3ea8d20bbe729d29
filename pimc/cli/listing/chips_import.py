"""``pimc chips import``: A chip file from measured data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, option
from pimc.cli.options.single import picture_option
from pimc.cli.options.values import FILE
from pimc.cli.text import facts

__all__ = ["COMMAND", "ImportArguments", "import_"]


@dataclass(frozen=True)
class ImportArguments:
    """What ``pimc chips import`` takes."""

    csv: Path = argument(type=FILE, metavar="MEASURED.csv")
    output: Path | None = option(
        "-o", "--output", type=FILE, help="Chip file [default: MEASURED.toml]."
    )
    picture: Path | None = picture_option("The picture of the fit [default: OUTPUT.png].")
    name: str | None = option(
        "--name", type=click.STRING, help="Name of the chip [default: that of the file]."
    )


def import_(settings: Settings, arguments: ImportArguments) -> Report:
    """A chip file from measured conductances, with a picture of the fit beside it.

    The columns are level,g_us (a row a sample) or level,mean_us,sigma_us; target_us in place of
    level groups samples by what they were written to.
    """
    from pimc.chip.measured import Measurement
    from pimc.errors import UsageError
    from pimc.files.writing.atomic import replacing, require_folder
    from pimc.pictures.canvas import require_picture
    from pimc.pictures.cells import measured_picture

    target = arguments.output or Path(f"{arguments.csv.stem}.toml")
    if target.suffix != ".toml":
        raise UsageError("a chip file is called .toml", str(target), "give -o NAME.toml")
    picture = arguments.picture or target.with_suffix(".png")
    require_picture(picture)
    require_folder(picture)
    found = Measurement.load(arguments.csv)
    text = found.toml(arguments.name or target.stem)
    with replacing(target) as stream:
        stream.write(text.encode())
        measured_picture(picture, found, arguments.name or target.stem)
    levels = [
        {"level": n, "samples": len(one.samples_us), "mean_us": one.mean_us,
         "sigma_us": one.sigma_us}
        for n, one in enumerate(found.levels)
    ]  # fmt: skip
    sigmas = [one.sigma_us for one in found.levels]
    pairs = [
        ("levels", f"{len(levels)}, {found.levels[0].mean_us:.4g} to "
                   f"{found.levels[-1].mean_us:.4g} µS"),
        ("σ", f"{min(sigmas):.3g} to {max(sigmas):.3g} µS"),
        ("written", f"{target}, {picture}"),
    ]  # fmt: skip
    data = {"output": str(target), "picture": str(picture), "levels": levels}
    return Report(data, facts(pairs), answer=False)


COMMAND = command(
    "chips import",
    ImportArguments,
    import_,
    example="pimc chips import measured.csv -o mychip.toml",
    needs=("matplotlib",),
)
