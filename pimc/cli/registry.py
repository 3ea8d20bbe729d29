"""Which commands there are: the modules of the rooms that begin with ``pimc NAME``.

A module called NAME in one of the rooms is a command if its first line reads

    \"\"\"``pimc NAME``: What it does.

Its ``COMMAND`` is what click runs. Modules are only imported for that, so that ``pimc --help``
waits for none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import click

__all__ = ["ROOMS", "Entry", "commands"]

#: The rooms in the order of the help, and what it calls them.
ROOMS: Mapping[str, str] = {
    "starting": "Start",
    "compiling": "Compile",
    "looking": "Look into images",
    "running": "Write and run dies",
    "recovering": "Recover",
    "listing": "What is shipped and installed",
}

_FIRST_LINE = re.compile(r'"""``pimc (?P<name>\w+)``: (?P<summary>.+?)\.?(?:""")?\s*')


@dataclass(frozen=True)
class Entry:
    """A command that has not been imported.

    Attributes:
        summary: its line in the help.
    """

    name: str
    room: str
    summary: str

    def load(self) -> click.Command:
        """The command itself."""
        found: click.Command = import_module(f"pimc.cli.{self.room}.{self.name}").COMMAND
        return found


@cache
def commands() -> Mapping[str, Entry]:
    """Commands by name, room by room."""
    return {entry.name: entry for room in ROOMS for entry in _commands_of(room)}


def _commands_of(room: str) -> list[Entry]:
    found = []
    for path in sorted((Path(__file__).parent / room).glob("*.py")):
        with path.open(encoding="utf-8") as stream:
            match = _FIRST_LINE.fullmatch(stream.readline())
        if match is not None and match["name"] == path.stem:
            found.append(Entry(path.stem, room, match["summary"]))
    return found
