"""The options that say how a model is read."""

from __future__ import annotations

from dataclasses import dataclass

from pimc.cli.options.fields import flag

__all__ = ["ModelOptions"]


@dataclass(frozen=True)
class ModelOptions:
    """``--follow-links``."""

    follow_links: bool = flag(
        "--follow-links",
        help="Take external data behind symbolic links, wherever they lead.",
    )
