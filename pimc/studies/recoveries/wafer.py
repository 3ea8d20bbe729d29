"""The dies that are to be recovered, and what all of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from pimc.data.dataset import Dataset
from pimc.data.rows import sha256_rows
from pimc.files.container import canonical_json
from pimc.image.image import Image
from pimc.studies.recoveries.columns import empty_row
from pimc.studies.recoveries.one_die import DieJob, Given
from pimc.studies.tables.row_file import Row
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Task

__all__ = ["Wafer", "labelled_fingerprint"]


@dataclass(frozen=True, eq=False)
class Wafer:
    """The dies that are to be recovered, and what is known beforehand.

    Attributes:
        image: what every die holds.
        places: x and y of dies by their source, where a map tells them.
        in_float, perfect: the task's figure of the float network and of perfect cells on the
            labelled data; None without.
    """

    image: Image
    given: Given
    jobs: Sequence[DieJob]
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    in_float: float | None = None
    perfect: float | None = None

    @property
    def task(self) -> Task:
        """Whose figure is told."""
        labelled = self.given.labelled
        return CLASSIFICATION if labelled is None else labelled.task

    @cached_property
    def shared(self) -> Row:
        """The columns that all rows share."""
        given, key = self.given, self.task.metric.key
        options = [asdict(given.options), given.strategy, given.driver]
        return {
            **empty_row(self.task),
            f"float_{key}": self.in_float,
            f"quantized_{key}": self.perfect,
            "cells_total": int(self.image.used.sum()),
            "strategy": given.strategy,
            "samples": None if given.labelled is None else len(given.labelled.data),
            "parent_sha256": self.image.sha256,
            "options_sha256": hashlib.sha256(canonical_json(options).encode()).hexdigest(),
            "calib_sha256": given.calib.fingerprint(),
            "data_sha256": given.labelled_sha256,
        }

    def unrecovered(self, job: DieJob) -> dict[str, Any]:
        """The row of a die before anything is known of it."""
        x, y = self.places.get(job.source, (None, None))
        return {**self.shared, "source": job.source, "x": x, "y": y, "seed": job.seed}


def labelled_fingerprint(data: Dataset, task: Task) -> str:
    """SHA-256 of labelled samples and what they are judged by, as hex."""
    targets = {name: sha256_rows(values) for name, values in data.targets.items()}
    parts = [data.fingerprint(), targets, task.name]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
