"""A journal: one JSON line for everything that is done, on the disk before the next begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from pimc.files.atomic import unwritable

__all__ = ["append_line", "whole_lines"]


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
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n")]
