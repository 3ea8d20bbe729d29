"""Accuracy of a session on labelled data, and what can be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset, Feed
from pimc.data.inputs import Input, free_inputs
from pimc.errors import DataError, UsageError
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.finite import require_finite
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import BATCH_SIZE, NodeArg, inputs_of
from pimc.runtime.teacher import teacher_array
from pimc.studies.intervals import Right

__all__ = [
    "Batches",
    "Runs",
    "accuracy",
    "float_session",
    "inputs_of",
    "right",
]

#: Prepared inputs are kept for the next die up to this size.
CACHE_BYTES = 1 << 30


class Runs(Protocol):
    """What :func:`accuracy` asks of a session; ONNX Runtime's have it too."""

    def get_inputs(self) -> Sequence[Any]:
        """The inputs, each with a ``name``, a ``shape`` and a ``type``."""
        ...

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, npt.NDArray[Any]]
    ) -> Sequence[npt.NDArray[Any]]:
        """Outputs for inputs."""
        ...


def float_session(image: Image) -> Runs:
    """The float network of an image: plain arithmetic in place of arrays.

    Raises:
        ImageError: the image was written without its teacher.
    """
    return _FloatSession(image)


class _FloatSession:
    def __init__(self, image: Image) -> None:
        self._inputs = inputs_of(image)
        self._executor = Executor(image.graph(), array=teacher_array(image))

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return self._inputs

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Outputs for inputs; all of them where ``output_names`` is None."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in input_feed.items()}
        names = self._executor.output_names if output_names is None else tuple(output_names)
        with torch.inference_mode():
            values = self._executor.run(tensors, want=names)
        return [values[name].numpy() for name in names]


class Batches:
    """A labelled dataset cut into batches; inputs are prepared once and used for every die.

    Where they are too many to be kept, they are read and prepared anew each time.

    Raises:
        DataError: the dataset has no labels.
    """

    def __init__(self, data: Dataset, batch_size: int = BATCH_SIZE) -> None:
        if data.y is None:
            raise DataError(
                "has no labels, so there is no accuracy to measure",
                where=data.name,
                hint="give data with labels: an .npz with x and y, or a folder a class",
            )
        self.data = data
        self.labels = data.y
        self.batch_size = batch_size
        self._others: dict[tuple[Any, ...], Batches] = {}

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Feed, npt.NDArray[np.int64]]]:
        """What the network gets, by input name, and the labels."""
        data = self._prepared
        ready = data.is_prepared
        for start in range(0, len(data), self.batch_size):
            stop = start + self.batch_size
            feed = data.stored(start, stop) if ready else data.feed(start, stop)
            yield feed, self.labels[start:stop]

    def on(self, inputs: Sequence[Any]) -> Batches:
        """The same samples by the names of a network's inputs.

        Args:
            inputs: what a session's ``get_inputs`` returns.

        Raises:
            DataError: the data have not these inputs.
            UsageError: the network takes a fixed number of samples.
        """
        wanted = free_inputs(inputs)
        if all(_serves(self.data, one) for one in wanted) and len(wanted) == len(self.data.columns):
            return self
        key = tuple((one.name, one.shape, one.dtype.str) for one in wanted)
        if key not in self._others:
            self._others[key] = Batches(self.data.on(inputs), self.batch_size)
        return self._others[key]

    def __reduce__(self) -> tuple[type[Batches], tuple[Dataset, int]]:
        """A copy in another process has its inputs prepared."""
        return Batches, (self._prepared, self.batch_size)

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
    """Share of samples whose largest value of the first output is at the label.

    Arguments and errors are those of :func:`right`.
    """
    found = right(session, data, batch_size, progress, description=description)
    return int(found.sum()) / len(found)


def right(
    session: Runs,
    data: Dataset | Batches,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
    *,
    description: str = "accuracy",
) -> Right:
    """Which samples have the largest value of the first output at their label.

    Args:
        session: what runs the network.
        data: labelled samples; give :class:`Batches` to measure several sessions on them.
        batch_size: samples at a time, where ``data`` is a dataset.
        progress: told of the batches, under ``description``.
        description: name of the work for people.

    Raises:
        DataError: no labels, labels beyond the classes, or inputs that do not fit.
        ModelError: scores that are not finite.
        UsageError: a model with a fixed number of samples, or a first output that is no list of
            classes.
    """
    batches = data if isinstance(data, Batches) else Batches(data, batch_size)
    batches = batches.on(session.get_inputs())
    parts = []
    for feed, labels in progress(batches, description, len(batches)):
        scores = session.run(None, feed)[0]
        require_finite({"0": scores}, description)
        parts.append(_classes(scores, len(labels), labels, batches.data.name) == labels)
    return np.concatenate(parts)


def _serves(data: Dataset, wanted: Input) -> bool:
    """Whether the data have this input, in the type that the network takes."""
    column = data.columns.get(wanted.name)
    return column is not None and column.fits(wanted)


def _classes(
    scores: npt.NDArray[Any], count: int, labels: npt.NDArray[np.int64], where: str
) -> npt.NDArray[np.int64]:
    flat = scores.reshape(scores.shape[0], -1) if scores.ndim >= 2 else scores
    if flat.ndim != 2 or len(flat) != count or flat.shape[1] < 2:
        raise UsageError(
            f"the first output has shape {list(scores.shape)}, not (samples, classes)",
            hint="accuracy needs a classifier; use `pimc run` for the outputs",
        )
    if labels.max(initial=0) >= flat.shape[1]:
        raise DataError(
            f"label {labels.max()} is beyond the network's {flat.shape[1]} classes",
            where=where,
            hint="count the classes from 0, in the order in which the network was trained",
        )
    return np.asarray(flat.argmax(axis=1), np.int64)
