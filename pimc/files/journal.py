"""A journal: one JSON line for everything that is done, on the disk before the next begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from pimc.files.atomic import unwritable

__all__ = ["append_line", "entries_of", "whole_lines"]


def append_line(stream: BinaryIO, entry: object) -> None:
    """Add an entry, and wait until it is on the disk.

    Raises:
        UsageError: it cannot be written (full disk).
    """
    try:
        stream.write(json.dumps(entry).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as cause:
        raise unwritable(stream.name, cause) from cause


def whole_lines(path: Path) -> list[bytes]:
    """Lines of a journal; a last one cut short by a crash does not count."""
    lines = path.read_bytes().split(b"\n")
    return [line + b"\n" for line in lines[:-1]]


def entries_of(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal, one a whole line.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no JSON object, or nested too deeply to be read.
    """
    return [_entry(line) for line in whole_lines(path)]


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except RecursionError as cause:
        raise ValueError("nested too deeply") from cause
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r} is no entry")
    return entry
