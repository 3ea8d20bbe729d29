"""What a session makes of data that are judged by a task: accuracy, or another metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pimc.data.dataset import Dataset, Feed
from pimc.data.inputs import Input, free_inputs
from pimc.errors import DataError
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.finite import require_finite
from pimc.runtime.network import GraphNetwork, Network
from pimc.runtime.sequences import checked_states, in_steps
from pimc.runtime.session import BATCH_SIZE, inputs_of
from pimc.runtime.teacher import teacher_array
from pimc.studies.intervals import Right
from pimc.studies.steps import judged, judged_targets
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Array, Samples, Task, scored

__all__ = [
    "Batches",
    "Runs",
    "accuracy",
    "figure",
    "float_session",
    "inputs_of",
    "measure",
    "right",
]

#: Prepared inputs are kept for the next die up to this size.
CACHE_BYTES = 1 << 30


#: What :func:`measure` asks of a session; ONNX Runtime's have it too.
Runs = Network


def float_session(image: Image) -> Runs:
    """The float network of an image: plain arithmetic in place of arrays.

    Raises:
        ImageError: the image was written without its teacher.
    """
    return GraphNetwork(image.graph(), teacher_array(image))


class Batches:
    """A dataset cut into batches, with the task that says what is made of the network's outputs.

    Inputs are prepared once and used for every die.

    Where they are too many to be kept, they are read and prepared anew each time.

    Raises:
        DataError: the dataset lacks a target that the task needs.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int = BATCH_SIZE,
        task: Task = CLASSIFICATION,
        wanted: Mapping[str, Array] | None = None,
    ) -> None:
        for name in (*task.needs, *task.uses):
            if name in data.unused:
                message = f"{name} does not hold a value for each of the {len(data)} samples"
                raise DataError(message, data.name, f"the task {task.name} looks at {name}")
        some = {
            name: rows if isinstance(rows, np.ndarray) else np.asarray(rows[:batch_size])
            for name, rows in data.targets.items()
        }
        states = data.states
        if not data.is_sequential or (states is not None and states.inputs):
            # Before a network is known, so is no axis of steps.
            steps = states.steps if states is not None and data.is_sequential else None
            task.check(judged_targets(task, some, steps), data.name)
        self.data, self.batch_size, self.task = data, batch_size, task
        self.wanted = wanted or {}
        self._others: dict[tuple[Any, ...], Batches] = {}

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Feed, Samples]]:
        """What the network gets, by input name, and what its outputs are judged by."""
        data = self._prepared
        ready = data.is_prepared
        for start in range(0, len(data), self.batch_size):
            part = slice(start, start + self.batch_size)
            read = data.stored if ready else data.feed
            feed = read(part.start, part.stop)
            targets = {name: np.asarray(values[part]) for name, values in data.targets.items()}
            wanted = {name: values[part] for name, values in self.wanted.items()}
            yield feed, Samples(feed, targets, wanted, data.name)

    def on(self, inputs: Sequence[Any]) -> Batches:
        """The same samples by the names of a network's inputs.

        Args:
            inputs: what a session's ``get_inputs`` returns.

        Raises:
            DataError: the data have not these inputs.
            UsageError: the network takes a fixed number of samples.
        """
        wanted = free_inputs(inputs)
        fed = self.data.states.inputs if self.data.states and self.data.is_sequential else {}
        given = [one for one in wanted if one.name in self.data.columns or one.name not in fed]
        known = all(_serves(self.data, one) for one in given) and fed.keys() <= {
            one.name for one in wanted
        }
        if known and len(given) == len(self.data.columns) and bool(fed) == self.data.is_sequential:
            return self
        key = tuple((one.name, one.shape, one.dtype.str) for one in wanted)
        if key not in self._others:
            self._others[key] = self._with(self.data.on(inputs))
        return self._others[key]

    def _with(self, data: Dataset) -> Batches:
        return Batches(data, self.batch_size, self.task, self.wanted)

    def __reduce__(self) -> tuple[type[Batches], tuple[Any, ...]]:
        """A copy in another process has its inputs prepared."""
        return Batches, (self._prepared, self.batch_size, self.task, self.wanted)

    def against(self, image: Image, progress: Progress = silent) -> Batches:
        """The same with the float network's outputs, where the task is held against them.

        Raises:
            ImageError: they are needed, and the image was written without its float weights.
        """
        if not self.task.against_float or self.wanted:
            return self
        session = float_session(image)
        found = [
            outputs for outputs, _ in _run(session, self, progress, "running the float network")
        ]
        wanted = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        return Batches(self.data, self.batch_size, self.task, wanted)

    @cached_property
    def _prepared(self) -> Dataset:
        """The data with inputs as the network gets them; as they are where these are too many."""
        data = self.data
        if data.is_prepared or data.sample_bytes * len(data) > CACHE_BYTES:
            return data
        return data.prepared(self.batch_size)


def accuracy(
    session: Runs,
    data: Dataset | Batches,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
    *,
    description: str = "accuracy",
) -> float:
    """The figure of the data's task: of a dataset the share of samples that are right.

    Arguments and errors are those of :func:`measure`.
    """
    batches = data if isinstance(data, Batches) else Batches(data, batch_size)
    return figure(batches, measure(session, batches, progress, description=description))


def figure(batches: Batches, units: Array) -> float:
    """The figure of what was measured.

    Raises:
        DataError: it is not defined for these samples.
    """
    value = batches.task.value(units)
    if not math.isfinite(value):
        raise DataError(
            f"the {batches.task.metric.name} of these samples is not defined",
            where=batches.data.name,
            hint="give more samples, of both kinds, whose targets vary",
        )
    return value


def right(
    session: Runs,
    data: Dataset | Batches,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
    *,
    description: str = "accuracy",
) -> Right:
    """Which samples have the largest value of the first output at their label.

    Arguments and errors are those of :func:`measure`.
    """
    batches = data if isinstance(data, Batches) else Batches(data, batch_size)
    batches = Batches(batches.data, batches.batch_size)
    found: Right = measure(session, batches, progress, description=description)[:, 0] == 0
    return found


def measure(
    session: Runs,
    batches: Batches,
    progress: Progress = silent,
    *,
    description: str = "accuracy",
) -> Array:
    """What the task's figure is made of: an entry a unit, in an order that the data fix.

    Args:
        session: what runs the network.
        batches: the samples and the task.
        progress: told of the batches, under ``description``.
        description: name of the work for people.

    Raises:
        DataError: targets or inputs that do not fit.
        ModelError: outputs that are not finite.
        UsageError: a model with a fixed number of samples, or outputs that are none of the task.
    """
    batches = batches.on(session.get_inputs())
    task, states = batches.task, batches.data.states
    steps = None if states is None or states.apart else states.steps
    stepped = [name for name, column in batches.data.columns.items() if column.stepped]
    parts = []
    for outputs, samples in _run(session, batches, progress, description):
        found, given = judged(task, outputs, samples, steps, stepped)
        if steps is None or all(len(value) for value in found.values()):
            parts.append(scored(task, found, given))
    if not parts:
        message = "no step is judged: all class numbers in y are negative"
        raise DataError(message, batches.data.name, "number the steps that count from 0")
    return task.units(np.concatenate(parts))


def _run(
    session: Runs, batches: Batches, progress: Progress, description: str
) -> Iterator[tuple[Mapping[str, Array], Samples]]:
    """Outputs that the task reads, and what they are judged by, batch by batch.

    Of sequences they have an axis of steps.
    """
    batches = batches.on(session.get_inputs())
    data = batches.data
    if data.is_sequential:
        checked_states(data, session)
    names = list(batches.task.reads([arg.name for arg in session.get_outputs()]))
    for feed, samples in progress(batches, description, len(batches)):
        if data.is_sequential:
            outputs = in_steps(session, data, feed, names)
        else:
            outputs = dict(zip(names, session.run(names, feed), strict=True))
        require_finite(outputs, description)
        yield outputs, samples


def _serves(data: Dataset, wanted: Input) -> bool:
    """Whether the data have this input, in the type that the network takes."""
    column = data.columns.get(wanted.name)
    return column is not None and column.fits(wanted)
