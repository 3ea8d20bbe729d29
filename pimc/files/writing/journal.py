"""A journal: one JSON line for everything that is done, on the disk before the next begins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from pimc.files.writing.atomic import unwritable

__all__ = ["append_line", "appending", "entries_of", "whole_lines"]


@contextmanager
def appending(path: Path, *, resume: bool) -> Iterator[Callable[[object], None]]:
    """Gives the function that adds an entry to a journal; without ``resume`` it begins anew.

    Raises:
        UsageError: the journal cannot be written (no permission, full disk); the function, too.
    """
    try:
        lines = whole_lines(path) if resume and path.exists() else []
        # No buffer: it would be written once more, and fail once more, when the file is closed.
        stream = path.open("r+b" if lines else "wb", buffering=0)
    except OSError as cause:
        raise unwritable(path, cause) from cause
    with stream:
        # A line that a crash cut short must not become the start of the next one.
        stream.seek(sum(map(len, lines)))
        stream.truncate()
        yield partial(append_line, stream)


def append_line(stream: FileIO | BinaryIO, entry: object) -> None:
    """Add an entry, and wait until it is on the disk.

    Raises:
        UsageError: it cannot be written (full disk).
    """
    left = json.dumps(entry).encode() + b"\n"
    try:
        while left:
            left = left[stream.write(left) :]
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
