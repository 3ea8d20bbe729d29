"""``pimc chips``, ``pimc ops`` and ``pimc devices``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.common import Report, Settings, command
from pimc.cli.text import facts, table

if TYPE_CHECKING:
    from pimc.chip import Chip

__all__ = ["chips", "devices", "ops"]


@command("chips")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option("--toml", is_flag=True, help="Print the chip file, to start an own one from.")
def chips(settings: Settings, name: str | None, toml: bool) -> Report:
    """List the shipped chips, or show one of them or a chip file."""
    from pimc.chip import Chip
    from pimc.errors import UsageError

    if name is not None:
        chip = Chip.load(name)
        if toml:
            return Report(chip.to_dict(), _toml(name).rstrip("\n"))
        return Report(chip.to_dict(), _one_chip(chip))
    if toml:
        raise UsageError("--toml needs the name of a chip", hint="see `pimc chips`")
    shipped = {name: Chip.load(name) for name in Chip.shipped()}
    rows = [
        (key, f"{c.array.rows}x{c.array.cols}", c.cell.levels, c.description)
        for key, c in shipped.items()
    ]
    data = {"chips": [{"name": key} | chip.to_dict() for key, chip in shipped.items()]}
    return Report(data, table(("chip", "array", "levels", "description"), rows))


@command("ops")
@click.option("--markdown", is_flag=True, help="A Markdown table.")
def ops(settings: Settings, markdown: bool) -> Report:
    """Which operators go on the array, under what conditions, and which stay digital."""
    from dataclasses import asdict

    from pimc.passes.constraints import ops_markdown, ops_table
    from pimc.runtime.ops import registered

    rows = ops_table({name for domain, name, _ in registered() if not domain})
    data = {"ops": [asdict(row) for row in rows]}
    if markdown:
        return Report(data, ops_markdown(rows).rstrip("\n"))
    lines = []
    for row in rows:
        if row.where == "array":
            lines.append(f"{row.op}: on the array, if all of this holds")
            lines += [f"  {need}" for need in row.needs]
    notes = [row for row in rows if row.where == "digital" and row.note != "native"]
    lines.append("digital, although they hold weights")
    lines += [f"  {row.op}: {row.note}" for row in notes]
    native = ", ".join(row.op for row in rows if row.note == "native")
    lines.append(f"digital, computed natively\n  {native}")
    lines.append("digital, computed by ONNX Runtime\n  every other operator of ONNX")
    return Report(data, "\n".join(lines))


@command("devices")
def devices(settings: Settings) -> Report:
    """List the installed device drivers (entry points of the group pimc.devices)."""
    from pimc.runtime.drivers import devices as installed

    found = installed()
    rows = [(d.name, d.available, d.description) for d in found]
    return Report(
        {"devices": [d._asdict() for d in found]},
        table(("device", "available", "description"), rows),
    )


def _toml(name: str) -> str:
    """The chip file as it is, comments included."""
    from importlib import resources

    from pimc.chip import Chip

    if name in Chip.shipped():
        return resources.files("pimc.chips").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Path(name).read_text(encoding="utf-8")


def _one_chip(chip: Chip) -> str:
    pairs = []
    for key, value in chip.to_dict().items():
        if not isinstance(value, dict):
            pairs.append((key, str(value)))
            continue
        for name, inner in value.items():
            pairs.append((f"{key}.{name}", str(inner)))
    return facts(pairs)
