"""The options that say who does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import option

if TYPE_CHECKING:
    from pimc.work.pool import Pool

__all__ = ["WorkerOptions"]


@dataclass(frozen=True)
class WorkerOptions:
    """``--jobs`` and ``--cluster``."""

    jobs: int = option(
        "--jobs",
        type=click.IntRange(1),
        default=1,
        help="Worker processes, no more than there are cores.",
    )
    cluster: str | None = option(
        "--cluster",
        type=click.STRING,
        metavar="ADDRESS",
        help="Workers of a Dask scheduler: tcp://host:8786.",
    )

    def open(self) -> Pool:
        """The place where the work is done."""
        from pimc.work.pool import open_pool

        return open_pool(self.jobs, self.cluster)
