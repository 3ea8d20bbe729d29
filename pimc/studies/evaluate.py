"""Accuracy of a session on labelled data, and what can be said about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset, Preprocess
from pimc.data.inputs import input_shape, only_input
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
    "input_shape",
    "inputs_of",
    "only_input",
    "right",
]

#: Prepared inputs are kept for the next die up to this size.
CACHE_BYTES = 1 << 30


class Runs(Protocol):
    """What :func:`accuracy` asks of a session; ONNX Runtime's have it too."""

    def get_inputs(self) -> Sequence[Any]:
        """The only input, with a ``name`` and a ``shape``."""
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

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        for start in range(0, len(self.data), self.batch_size):
            stop = start + self.batch_size
            kept = self._inputs
            x = self.data.batch(start, stop) if kept is None else kept[start:stop]
            yield x, self.labels[start:stop]

    def __reduce__(self) -> tuple[type[Batches], tuple[Dataset, int]]:
        """A copy in another process has its inputs prepared."""
        kept, data = self._inputs, self.data
        if kept is not None:
            data = Dataset(kept, self.labels, Preprocess(layout="any"), data.name)
        return Batches, (data, self.batch_size)

    @cached_property
    def _inputs(self) -> npt.NDArray[np.float32] | None:
        """(N, *sample shape) inputs of the network, or None where they are too many to keep."""
        data = self.data
        if data.is_prepared:
            return data.x
        shape = (len(data), *data.sample_shape)
        if 4 * math.prod(shape) > CACHE_BYTES:
            return None
        inputs = np.empty(shape, np.float32)
        for start in range(0, len(data), self.batch_size):
            stop = start + self.batch_size
            inputs[start:stop] = data.batch(start, stop)
        return inputs


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
        UsageError: a model with several inputs or a fixed number of samples, or a first output
            that is no list of classes.
    """
    batches = data if isinstance(data, Batches) else Batches(data, batch_size)
    name = only_input(session.get_inputs())
    input_shape(session.get_inputs())  # refuses a network of a fixed number of samples
    parts = []
    for x, labels in progress(batches, description, len(batches)):
        scores = session.run(None, {name: x})[0]
        require_finite({"0": scores}, description)
        parts.append(_classes(scores, len(labels), labels, batches.data.name) == labels)
    return np.concatenate(parts)


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
