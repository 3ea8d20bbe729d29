"""The command line.

A command is a module NAME of the room it belongs to: a frozen dataclass of what it takes
(``options/fields.py``), a function of settings and that dataclass which gives a report, and
``COMMAND``, made of both (``command.py``). The first line of the module, ``pimc NAME``: What it
does, is its entry in the list of commands (``registry.py``). With it come
``tests/pimc/cli/ROOM/test_NAME.py`` and a section of ``docs/commands.md``; tests hold page and
example against the parser.
"""

from __future__ import annotations

from pimc.cli.main import main

__all__ = ["main"]
