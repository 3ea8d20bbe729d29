"""Folders of a dump by the pass that they were written after, whatever its number is."""

from __future__ import annotations

from pathlib import Path


def after(dump: Path, name: str) -> Path:
    (found,) = dump.glob(f"[0-9][0-9]-{name}")
    return found
