"""``pimc chips`` and ``pimc chips import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import FILE, Report, Settings, command
from pimc.cli.text import engineering, facts, percent, table

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["chips"]

_SHOW, _IMPORT = "show", "import"


class _Chips(click.Group):
    """``import`` is a command; anything else is what ``show`` is asked."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (_SHOW, _IMPORT):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)


@command(_SHOW)
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option("--toml", is_flag=True, help="Print the chip file, to start an own one from.")
def show(settings: Settings, name: str | None, toml: bool) -> Report:
    """List the shipped chips, or show one of them or a chip file.

    The word show may be left out. `pimc chips import` makes a chip file from measured data.
    """
    from pimc.chip.design import Chip
    from pimc.errors import UsageError

    if name is not None:
        chip = Chip.load(name)
        if toml:
            return Report(chip.to_dict(), _toml(name).rstrip("\n"))
        return _one_chip(chip)
    if toml:
        raise UsageError("--toml needs the name of a chip", hint="see `pimc chips`")
    shipped = {name: Chip.load(name) for name in Chip.shipped()}
    rows = [
        (key, f"{c.array.rows}x{c.array.cols}", c.cell.levels, c.description)
        for key, c in shipped.items()
    ]
    data = {"chips": [{"name": key} | chip.to_dict() for key, chip in shipped.items()]}
    return Report(data, table(("chip", "array", "levels", "description"), rows))


@command(_IMPORT)
@click.argument("csv", type=FILE, metavar="MEASURED.csv")
@click.option("-o", "--output", type=FILE, help="Chip file [default: MEASURED.toml].")
@click.option("--name", help="Name of the chip [default: that of the file].")
def import_(settings: Settings, csv: Path, output: Path | None, name: str | None) -> Report:
    """A chip file from measured conductances, with a picture of the fit beside it.

    The columns are level,g_us (a row a sample) or level,mean_us,sigma_us; target_us in place of
    level groups samples by what they were written to.
    """
    from pimc.chip.measured import Measurement
    from pimc.errors import UsageError
    from pimc.files.atomic import replacing
    from pimc.pictures.plots import measured_picture

    target = output or Path(f"{csv.stem}.toml")
    if target.suffix != ".toml":
        raise UsageError("a chip file is called .toml", str(target), "give -o NAME.toml")
    found = Measurement.load(csv)
    text = found.toml(name or target.stem)
    picture = target.with_suffix(".png")
    with replacing(target) as stream:
        stream.write(text.encode())
        measured_picture(picture, found)
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


@click.group(cls=_Chips, commands={_SHOW: show, _IMPORT: import_})
def chips() -> None:
    """List the shipped chips, show one, or make a chip file from measured data."""


def _toml(name: str) -> str:
    """The chip file as it is, comments included."""
    from importlib import resources

    from pimc.chip.design import Chip

    if name in Chip.shipped():
        return (
            resources.files("pimc.chip.shipped")
            .joinpath(f"{name}.toml")
            .read_text(encoding="utf-8")
        )
    return Path(name).read_text(encoding="utf-8")


def _one_chip(chip: Chip) -> Report:
    pairs = []
    for key, value in chip.to_dict().items():
        if not isinstance(value, dict):
            pairs.append((key, str(value)))
            continue
        for name, inner in value.items():
            pairs.append((f"{key}.{name}", str(inner)))
    if chip.cell.sigma.kind != "write_verify":
        return Report(chip.to_dict(), facts(pairs))
    from pimc.chip.write_cost import level_costs

    costs = level_costs(chip)
    rows: list[tuple[Any, ...]] = [
        (c.level, c.target_us, c.sigma_us, c.pulses, percent(c.success),
         engineering(c.seconds, "s"), engineering(c.energy_pj * 1e-12, "J"))
        for c in costs
    ]  # fmt: skip
    header = ("level", "G in µS", "σ in µS", "pulses", "accepted", "time", "energy")
    data = chip.to_dict() | {"writing": [asdict(cost) for cost in costs]}
    return Report(data, f"{facts(pairs)}\n\n{table(header, rows)}")
