"""Classification: the largest value of an output names its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import DataError, UsageError
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import Interval, matched_interval, wilson_interval
from pimc.tasks.task import Array, Distilled, Samples, Task, first

__all__ = ["CLASSIFICATION", "Classification"]


@dataclass(frozen=True)
class Classification(Task):
    """Share of samples whose largest value of the first output is at the label.

    Units are (samples, 2): how many classes stand before the label's, and the label.
    """

    name: ClassVar[str] = "classification"
    metric: ClassVar[Metric] = Metric("accuracy", "%", low=0.0, high=1.0, key="accuracy")
    distills: ClassVar[Distilled] = "classes"

    def check(self, targets: Mapping[str, Array], where: str) -> None:
        """Make sure that there are class numbers."""
        _labels(targets, where)

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Rank of the label's class, 0 where it has the largest value, and the label."""
        values, labels = first(outputs), _labels(samples.targets, samples.where)
        flat = values.reshape(values.shape[0], -1) if values.ndim >= 2 else values
        if flat.ndim != 2 or len(flat) != len(labels) or flat.shape[1] < 2:
            raise UsageError(
                f"the first output has shape {list(values.shape)}, not (samples, classes)",
                hint="accuracy needs a classifier; use `pimc run` for the outputs, or name another"
                " --task",
            )
        if labels.max(initial=0) >= flat.shape[1]:
            raise DataError(
                f"label {labels.max()} is beyond the network's {flat.shape[1]} classes",
                where=samples.where,
                hint="count the classes from 0, in the order in which the network was trained",
            )
        at_label = np.take_along_axis(flat, labels[:, None], axis=1)
        # Of equal values the first names the class.
        earlier = np.arange(flat.shape[1])[None, :] < labels[:, None]
        before = (flat > at_label) | ((flat == at_label) & earlier)
        return np.stack([before.sum(axis=1, dtype=np.int64), labels], axis=1)

    def value(self, units: Array) -> float:
        """Share of samples with the largest value at the label."""
        return int((units[:, 0] == 0).sum()) / len(units)

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``top_5``, and ``per_class``: the share of each class by its number."""
        rank, label = units.T
        return {
            "top_5": float((rank < 5).mean()),
            "per_class": {str(c): float((rank[label == c] == 0).mean()) for c in np.unique(label)},
        }

    def interval(self, dies: Sequence[Array]) -> Interval:
        """Wilson's score interval of the mean over the dies."""
        mean = float(np.mean([self.value(units) for units in dies]))
        return wilson_interval(mean, len(dies[0]))

    def differences(
        self, one: Sequence[Array], two: Sequence[Array]
    ) -> tuple[list[float], Interval]:
        """By pairs: sample by sample which condition alone is right, mean over the dies."""
        gained = np.stack([_right(u) for u in one]) - np.stack([_right(u) for u in two])
        return gained.mean(axis=1).tolist(), matched_interval(gained.mean(axis=0))


CLASSIFICATION = Classification()


def _right(units: Array) -> Array:
    found: Array = (units[:, 0] == 0).astype(np.int8)
    return found


def _labels(targets: Mapping[str, Array], where: str) -> Array:
    labels = targets.get("y")
    if labels is None:
        raise DataError(
            "has no labels, so there is no accuracy to measure",
            where=where,
            hint="give data with labels: an .npz with x and y, or a folder a class",
        )
    if labels.dtype.kind not in "iu":
        hint = "save y as integers, e.g. y.astype(numpy.int64), or name another --task"
        raise DataError(f"y holds {labels.dtype}, not whole numbers", where, hint)
    if labels.ndim != 1:
        message = f"y holds values of shape {list(labels.shape[1:])}, not one class number a sample"
        raise DataError(message, where, "name the --task that these targets are for")
    if labels.min(initial=0) < 0:
        raise DataError("y holds negative class numbers", where, "count the classes from 0")
    return labels.astype(np.int64, copy=False)
