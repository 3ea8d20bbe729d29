"""A sweep: the same network and data on every chip of a grid, several dies each."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.elements import seen_by_compiler
from pimc.chip.grid import Point, chip_at
from pimc.data.column import Column
from pimc.data.dataset import Dataset, Preprocess
from pimc.data.rows import sha256_rows
from pimc.errors import ChipError, PimcError, UsageError
from pimc.files.container import canonical_json
from pimc.files.writing.alone import alone
from pimc.image.image import Image
from pimc.image.summary import summarize
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.studies.drawn import FRESH, Reading
from pimc.studies.evaluate import Batches, accuracy, float_session
from pimc.studies.intervals import deviation, interval_of, known_ends
from pimc.studies.montecarlo import Trial, measure_die, shareable
from pimc.studies.sweep_columns import Row, columns_for
from pimc.studies.sweep_table import (
    key_of,
    read_rows,
    recording,
    require_same,
    write_rows,
)
from pimc.tasks.classification import CLASSIFICATION
from pimc.work.pool import Here, Pool, completed

__all__ = ["Setup", "Swept", "sweep"]

Task = tuple[tuple[int, int], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Setup:
    """What all points of a sweep have in common.

    Attributes:
        model: the network.
        base: the chip whose parameters are swept.
        calib: inputs to choose ranges on, or None.
        batches: samples that accuracy, or the metric of another task, is measured on.
        seeds: of the dies; the same at all points, so that points are compared on like dies.
        reading: how the dies are read.
    """

    model: Plan
    base: Chip
    calib: Dataset | None
    batches: Batches
    seeds: tuple[int, ...]
    reading: Reading = FRESH

    @property
    def key(self) -> str:
        """What stands for the figure in the names of columns: ``accuracy`` or ``metric``."""
        return self.batches.task.metric.key

    def identity(self) -> Row:
        """The columns that all rows of this sweep share."""
        task = self.batches.task
        return {
            **({} if task.name == CLASSIFICATION.name else {"task": task.name}),
            "model_sha256": self.model.model_sha256,
            "chip_sha256": self.base.fingerprint,
            "calib_sha256": "" if self.calib is None else _fingerprint(self.calib),
            "data_sha256": _fingerprint(self.batches.data),
            "samples": len(self.batches.data),
            "dies": len(self.seeds),
            "seed": self.seeds[0],
            "age_s": max(self.reading.age_s, self.base.retention.youngest_s),
            "ir_drop": self.reading.ir_drop,
        }


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        rows: one a point, in their order.
        measured: how many of them were not in the file before.
    """

    rows: list[Row]
    measured: int

    def __repr__(self) -> str:
        return f"Swept({len(self.rows):,} points, {self.measured:,} of them measured now)"

    def _repr_html_(self) -> str:
        """What notebooks show: what it went over, and its points."""
        import pimc

        return pimc.brief(self)


@dataclass
class _Open:
    """A point that is being measured.

    Attributes:
        seconds: that compiling took.
        trials: of the dies that are done, by number.
    """

    image: Image
    seconds: float
    trials: dict[int, Trial] = field(default_factory=dict)


def _unmeasured(setup: Setup, point: Point) -> Row:
    """The row of a point before it is measured: parameters and what tells it from others."""
    try:
        fingerprint = chip_at(setup.base, point).fingerprint
    except ChipError:
        fingerprint = ""
    columns = columns_for(setup.key, setup.batches.task.name)
    empty: dict[str, Any] = {name: [] if kind is list else None for name, kind in columns.items()}
    filled = {"error": "", "image_sha256": "", "point_sha256": fingerprint}
    return {**point, **empty, **filled, **setup.identity()}


def sweep(
    setup: Setup,
    points: Sequence[Point],
    output: Path,
    pool: Callable[[], Pool] = Here,
    progress: Progress = silent,
) -> Swept:
    """Compile and measure the points that a file does not hold yet, and write them into it.

    A point that cannot be compiled gets a row that says why. Every row is noted beside the file
    when it is finished, so that nothing of an interrupted sweep is done again; the file itself
    is written at the end.

    Args:
        output: a ``.csv`` or ``.parquet`` file.
        pool: opens the place where dies are measured; compiling is done here meanwhile.
        progress: told of the dies.

    Raises:
        UsageError: the file is not one of a sweep or cannot be written, it is of another model,
            chip or data, or another process is at work on it; or as
            :func:`~pimc.studies.evaluate.accuracy` does.
        DataError: labels beyond the classes, or inputs that do not fit.
        WorkerError: workers die again and again.
    """
    with alone(output, UsageError):
        return _swept(setup, points, output, pool, progress)


def _swept(
    setup: Setup,
    points: Sequence[Point],
    output: Path,
    pool: Callable[[], Pool],
    progress: Progress,
) -> Swept:
    """:func:`sweep`, while no other process is at work on the file."""
    stored = read_rows(output)
    require_same(output, stored, setup.identity())
    known = {key_of(row): row for row in stored}
    rows = [_unmeasured(setup, point) for point in points]
    keys = [key_of(row) for row in rows]
    # A chip that is known may have been reached over other parameters, which stay in its row.
    rows = [
        {**known[key], **point} if key in known else row
        for key, point, row in zip(keys, points, rows, strict=True)
    ]
    todo = {number: points[number] for number, key in enumerate(keys) if key not in known}
    if todo:
        known_float = next((row[f"float_{setup.key}"] for row in stored), None)
        with recording(output) as note, pool() as workers:
            for number, row in _Run(setup, todo, workers, known_float).rows(progress):
                note(row)
                rows[number] = row
    write_rows(output, [*(row for key, row in known.items() if key not in set(keys)), *rows])
    return Swept(rows, len(todo))


class _Run:
    """Points on their way: compiled here one by one, their dies measured by workers."""

    def __init__(
        self, setup: Setup, points: Mapping[int, Point], pool: Pool, in_float: float | None
    ) -> None:
        self.setup, self.points, self.pool = setup, points, pool
        self.in_float = in_float
        self.open: dict[int, _Open] = {}
        self.failed: deque[tuple[int, Row]] = deque()
        self.last: tuple[str, Image] | None = None

    def rows(self, progress: Progress) -> Iterator[tuple[int, Row]]:
        """Numbers of points and their rows, as they are finished."""
        dies = len(self.setup.seeds)
        results = completed(self.pool, measure_die, self._tasks())
        for (number, die), trial in progress(results, "dies", len(self.points) * dies):
            yield from self._failures()
            at = self.open[number]
            at.trials[die] = trial
            if len(at.trials) == dies:
                yield number, self._row(number, self.open.pop(number))
        yield from self._failures()

    def _failures(self) -> Iterator[tuple[int, Row]]:
        while self.failed:
            yield self.failed.popleft()

    def _tasks(self) -> Iterator[Task]:
        data = None
        for number, point in _by_compilation(self.setup.base, self.points):
            start = time.perf_counter()
            try:
                image = self._compiled(chip_at(self.setup.base, point))
            except PimcError as error:
                row = _unmeasured(self.setup, point)
                self.failed.append((number, {**row, "error": str(error)}))
                continue
            self.open[number] = _Open(image, time.perf_counter() - start)
            if data is None:
                batches = self.setup.batches.against(image)
                data = self.pool.share(batches)
            if self.in_float is None:
                self.in_float = accuracy(float_session(image), batches)
            shared = self.pool.share(shareable(image))
            for die, seed in enumerate(self.setup.seeds):
                yield (number, die), (shared, data, self.setup.reading, seed)

    def _compiled(self, chip: Chip) -> Image:
        """The image for a chip; the last one with another chip where the compiler sees none."""
        view = canonical_json(seen_by_compiler(chip))
        if self.last is not None and self.last[0] == view:
            return self.last[1].with_chip(chip)
        image = api.compile(self.setup.model, chip, calib=self.setup.calib)
        self.last = view, image
        return image

    def _row(self, number: int, done: _Open) -> Row:
        trials = [done.trials[die] for die in range(len(self.setup.seeds))]
        values = [trial.accuracy for trial in trials]
        low, high = known_ends(interval_of(self.setup.batches.task, [t.units for t in trials]))
        summary, key = summarize(done.image), self.setup.key
        return {
            **_unmeasured(self.setup, self.points[number]),
            f"{key}_mean": float(np.mean(values)),
            f"{key}_std": deviation(values),
            f"{key}_low": low,
            f"{key}_high": high,
            f"{key}_per_die": values,
            f"float_{key}": self.in_float,
            "arrays": summary["arrays_used"],
            "cells": summary["cells_used"],
            "read_steps": summary["read_steps"],
            "energy_pj": summary["energy_pj"],
            "latency_ns": summary["latency_ns"],
            "seconds": round(done.seconds + sum(trial.seconds for trial in trials), 3),
            "image_sha256": done.image.sha256,
        }


def _by_compilation(base: Chip, points: Mapping[int, Point]) -> list[tuple[int, Point]]:
    """The points with their numbers, those that share what is compiled side by side."""
    groups: dict[str, list[tuple[int, Point]]] = {}
    for number, point in points.items():
        try:
            view = canonical_json(seen_by_compiler(chip_at(base, point)))
        except ChipError:
            view = ""
        groups.setdefault(view, []).append((number, point))
    return [entry for group in groups.values() for entry in group]


def _column_parts(column: Column) -> dict[str, Any]:
    # Keys that came later count where they are set, so that the rows of older files stay valid.
    how, plain = asdict(column.how), asdict(Preprocess())
    later = ("resize", "crop", "interpolation")
    kept = {key: value for key, value in how.items() if key not in later or value != plain[key]}
    stored = np.asarray(column.stored[...]).reshape(1) if column.shared else column.stored
    return {"x": sha256_rows(stored), "preprocess": kept}


def _fingerprint(data: Dataset) -> str:
    """SHA-256 of samples, labels and preprocessing, as hex."""
    columns = data.columns.items()
    if len(columns) == 1:
        parts: dict[str, Any] = _column_parts(data.only)
    else:
        parts = {"inputs": {name: _column_parts(column) for name, column in columns}}
    targets = {name: sha256_rows(values) for name, values in data.targets.items()}
    parts["y"] = targets.pop("y", None)
    if targets:
        parts["others"] = targets
    if data.states is not None:
        parts["states"] = dict(data.states.feeds)
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
