"""``pimc devices``: Installed device drivers."""

from __future__ import annotations

from dataclasses import dataclass

from pimc.cli.command import Report, Settings, command
from pimc.cli.text import table

__all__ = ["COMMAND", "DevicesArguments", "devices"]


@dataclass(frozen=True)
class DevicesArguments:
    """What ``pimc devices`` takes: nothing of its own."""


def devices(settings: Settings, arguments: DevicesArguments) -> Report:
    """List the installed device drivers (entry points of the group pimc.devices)."""
    from pimc.runtime.door.drivers import devices as installed

    found = installed()
    rows = [(d.name, d.available, d.description) for d in found]
    return Report(
        {"devices": [d._asdict() for d in found]},
        table(("device", "available", "description"), rows),
    )


COMMAND = command("devices", DevicesArguments, devices, example="pimc devices --json")
