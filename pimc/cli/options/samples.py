"""The options that say on which samples a network is measured, and by which task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import option
from pimc.cli.options.single import batch_size_option

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.studies.evaluate import Batches
    from pimc.tasks.task import Task

__all__ = ["SampleOptions"]


@dataclass(frozen=True)
class SampleOptions:
    """``--limit`` and ``--batch-size``."""

    limit: int | None = option("--limit", type=click.IntRange(1), help="Only the first samples.")
    batch_size: int = batch_size_option()

    def of(self, data: Dataset, task: Task) -> Batches:
        """The samples of data that are looked at, in batches, judged by a task."""
        import numpy as np

        from pimc.studies.evaluate import Batches

        if self.limit is not None:
            data = data.subset(np.arange(min(self.limit, len(data))))
        return Batches(data, self.batch_size, task)
