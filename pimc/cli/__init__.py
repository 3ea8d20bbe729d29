"""The command line."""

from __future__ import annotations

from pimc.cli.main import main

__all__ = ["main"]
