"""``pimc chips``: Shipped chips; a chip file from measured data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.listing import chips_import
from pimc.cli.options.fields import argument, flag
from pimc.cli.options.values import CHIP
from pimc.cli.text import engineering, facts, percent, table

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pimc.chip.design import Chip

__all__ = ["COMMAND", "ShowArguments", "show"]

_SHOW, _IMPORT = "show", "import"


@dataclass(frozen=True)
class ShowArguments:
    """What ``pimc chips`` takes where no other word stands first."""

    name: str | None = argument(type=CHIP, required=False, metavar="[NAME|FILE]")
    toml: bool = flag("--toml", help="Print the chip file, to start an own one from.")


def show(settings: Settings, arguments: ShowArguments) -> Report:
    """List the shipped chips, or show one of them or a chip file.

    The word show may be left out. `pimc chips import` makes a chip file from measured data.
    """
    from pimc.chip.design import Chip
    from pimc.errors import UsageError

    if arguments.name is not None:
        chip = Chip.load(arguments.name)
        if arguments.toml:
            return Report(chip.to_dict(), _toml(arguments.name).rstrip("\n"))
        return _one_chip(chip)
    if arguments.toml:
        raise UsageError("--toml needs the name of a chip", hint="see `pimc chips`")
    shipped = {name: Chip.load(name) for name in Chip.shipped()}
    rows = [
        (key, f"{c.array.rows}x{c.array.cols}", c.cell.levels, c.description)
        for key, c in shipped.items()
    ]
    data = {"chips": [{"name": key} | chip.to_dict() for key, chip in shipped.items()]}
    return Report(data, table(("chip", "array", "levels", "description"), rows))


class _Chips(click.Group):
    """``import`` is a command; anything else is what ``show`` is asked."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        completing = ctx.resilient_parsing and not args  # any of the three may come
        if not completing and (not args or args[0] not in (_SHOW, _IMPORT)):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = CHIP.shell_complete(ctx, None, incomplete)
        return [*names, *super().shell_complete(ctx, incomplete)]


COMMAND = _Chips(
    "chips",
    commands={
        _SHOW: command(f"chips {_SHOW}", ShowArguments, show, example="pimc chips ihp --toml"),
        _IMPORT: chips_import.COMMAND,
    },
    help="List the shipped chips, show one, or make a chip file from measured data.",
)


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
