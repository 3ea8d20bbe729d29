"""``pimc ops`` and ``pimc devices``."""

from __future__ import annotations

import click

from pimc.cli.common import Report, Settings, command
from pimc.cli.text import table

__all__ = ["devices", "ops"]


@command("ops")
@click.option("--markdown", is_flag=True, help="A Markdown table.")
def ops(settings: Settings, markdown: bool) -> Report:
    """Which operators go on the array, under what conditions, and which stay digital."""
    from dataclasses import asdict

    from pimc.passes.array.judge import ops_markdown, ops_table
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
    from pimc.runtime.door.drivers import devices as installed

    found = installed()
    rows = [(d.name, d.available, d.description) for d in found]
    return Report(
        {"devices": [d._asdict() for d in found]},
        table(("device", "available", "description"), rows),
    )
