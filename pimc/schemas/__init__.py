"""JSON Schemas of commands' outputs.

A file a command, of what it prints with ``--json``; and ``error``. Each has an ``$id`` and a
``version``. A key that is added leaves the version as it is; a key that goes, or means something
else, raises it.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from pimc.errors import UsageError
from pimc.files.strict import did_you_mean

__all__ = ["load_schema", "schema_names"]


def schema_names() -> list[str]:
    """The names of all schemas: commands, words joined by a dash, and ``error``."""
    files = resources.files(__name__).iterdir()
    return sorted(one.name.removesuffix(".json") for one in files if one.name.endswith(".json"))


def load_schema(name: str) -> dict[str, Any]:
    """The schema of a command's JSON: ``eval``, ``chips-import``, ``error``.

    Raises:
        UsageError: there is none of this name.
    """
    known = schema_names()
    if name not in known:
        raise UsageError(f"there is no such schema{did_you_mean(name, known)}", where=name)
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
