"""The options that say what goes on the array."""

from __future__ import annotations

from dataclasses import dataclass

import click

from pimc.cli.options.fields import flag, several

__all__ = ["PartitionOptions"]


@dataclass(frozen=True)
class PartitionOptions:
    """``--digital GLOB``, any number of times, and ``--array-only``."""

    digital: tuple[str, ...] = several(
        "--digital",
        type=click.STRING,
        metavar="GLOB",
        help="Keep layers whose name fits off the array; may be given again.",
    )
    array_only: bool = flag(
        "--array-only", help="Refuse what has weights and cannot go on the array."
    )
