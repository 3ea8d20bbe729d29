"""What must hold between the values of a data set: numbers of samples, labels, names of classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.column import Column, is_stepped
from pimc.data.inputs import Input
from pimc.data.layout import Preprocess
from pimc.data.read import Stored
from pimc.data.rows import Rows
from pimc.data.settings import Settings
from pimc.errors import DataError

__all__ = [
    "array_of",
    "class_names",
    "columns_of",
    "is_class_numbers",
    "targets_of",
    "with_starts",
]

#: Targets that are looked at together where all are gone through.
_TOGETHER = 1024


def columns_of(
    values: Mapping[str, Rows],
    hows: Mapping[str, Preprocess],
    wanted: Sequence[Input],
    where: str,
    states: Collection[str] = (),
) -> dict[str, Column]:
    """The values of each input, checked.

    Args:
        hows: by the name of the input, how they are prepared.
        wanted: the network's inputs, where they are known.
        states: names of those that are states; where there are any, others may have steps.

    Raises:
        DataError: values that cannot be used, or inputs of different numbers of samples.
    """
    inputs = {one.name: one for one in wanted}
    columns: dict[str, Column] = {}
    for name, stored in values.items():
        called, one = name if len(values) > 1 else "x", inputs.get(name)
        if (stored.shape == () and len(values) > 1) if one is None else one.shape == ():
            columns[name] = Column.same_for_all(stored, where, called)
        else:
            how = hows.get(name) or Preprocess()
            stepped = bool(states) and name not in states and is_stepped(stored, how, one)
            columns[name] = Column.of(stored, how, where, called, one, stepped)
    counts = {column.called: len(column) for column in columns.values() if not column.shared}
    if not counts:
        raise DataError("holds no samples: every value is a single one", where, "give samples")
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        hint = "give every input a value a sample"
        raise DataError(f"inputs have different numbers of samples: {told}", where, hint)
    return columns


def targets_of(
    given: Mapping[str, Rows], columns: Mapping[str, Column], where: str
) -> dict[str, Rows]:
    """What is known of the samples; class numbers, under ``y``, as int64.

    Raises:
        DataError: another number of them than of samples, or class numbers that are none.
    """
    first = next(column for column in columns.values() if not column.shared)
    found = dict(given)
    if "y" in given and is_class_numbers(given["y"]):
        found["y"] = _labels(np.asarray(given["y"][...]), first.called, len(first), where)
    for name, values in found.items():
        if values.shape[:1] != (len(first),):
            message = f"{first.called} has {len(first)} samples, {name} has shape {values.shape}"
            raise DataError(message, where, f"{name} holds one value a sample")
        if values.dtype.kind not in "biufU" and name != "y":
            raise DataError(f"{name} holds {values.dtype}, no numbers and no texts", where)
        # What else lies beside the inputs is looked at by the task that needs it.
        if name == "y" and values.dtype.kind == "f" and not _is_finite(values):
            raise DataError(f"NaN or infinity in {name}", where, "clean the data")
    return found


def with_starts(stored: Stored, feeds: Mapping[str, str]) -> Stored:
    """What is held under the name of a state is its value at the start, no target."""
    starts = {name: rows for name, rows in stored.targets.items() if name in feeds}
    if not starts:
        return stored
    targets = {name: rows for name, rows in stored.targets.items() if name not in feeds}
    return replace(stored, values={**stored.values, **starts}, targets=targets)


def is_class_numbers(labels: Rows) -> bool:
    """Whether ``y`` is to be read as class numbers: reals and lists are targets of other tasks."""
    return labels.dtype.kind != "f" and not (labels.dtype.kind in "iub" and len(labels.shape) > 1)


def array_of(given: npt.ArrayLike, called: str, where: str) -> npt.NDArray[Any]:
    """What NumPy makes of values.

    Raises:
        DataError: it makes no array of them.
    """
    try:
        return np.asanyarray(given)
    except Exception as cause:  # lists of several lengths, tensors with gradients, and so on
        raise DataError(f"{called} is no array: {cause}", where, "give arrays") from cause


def _is_finite(values: Rows) -> bool:
    parts = range(0, values.shape[0], _TOGETHER)
    return all(np.isfinite(values[start : start + _TOGETHER]).all() for start in parts)


def class_names(
    labels: npt.NDArray[np.int64] | None, stored: Stored, settings: Settings
) -> tuple[str, ...]:
    """What the classes are called: as ``data.toml`` says, else as the folders are.

    Raises:
        DataError: a class is met that has no name.
    """
    names = settings.classes or stored.classes
    if settings.classes and labels is not None and labels.max() >= len(names):
        raise DataError(
            f"classes: there are {len(names)} names, and class {labels.max()} is met",
            settings.path,
            "name all classes in the order of their numbers",
        )
    return names


def _labels(
    labels: npt.NDArray[Any], first: str, samples: int, where: str
) -> npt.NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"y holds {labels.dtype}, not whole numbers",
            where,
            "save y as integers, e.g. y.astype(numpy.int64), and texts under another name",
        )
    if labels.shape != (samples,):
        hint = "y holds one class number a sample"
        message = f"{first} has {samples} samples, y has shape {labels.shape}"
        raise DataError(message, where, hint)
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        hint = "count the classes from 0, or save what is no class number as y.astype(float)"
        raise DataError("y holds negative class numbers", where, hint)
    return labels
