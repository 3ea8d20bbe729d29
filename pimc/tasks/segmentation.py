"""Segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import DataError
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import mean_of
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["Segmentation"]

#: The class number that stands for no class, as in Cityscapes and Pascal VOC.
_IGNORED = 255


@dataclass(frozen=True)
class Segmentation(Task):
    """Mean over classes of intersection over union (Jaccard), pixels of all images together.

    The first output is (images, classes, height, width), of which the largest value names the
    class; ``y`` is (images, height, width) class numbers, 255 or negative where none counts. Units
    are (images, 3, classes): pixels that are right, called the class, and of the class.
    """

    name: ClassVar[str] = "segmentation"
    metric: ClassVar[Metric] = Metric("mean IoU", "%", low=0.0, high=1.0)
    distills: ClassVar[Distilled] = "pixels"

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Counts of each image."""
        values = first(outputs)
        if values.ndim != 4 or values.shape[1] < 2:
            raise unlike(values, "(images, classes, height, width)", self.name)
        count, classes = values.shape[:2]
        labels = target(samples, "y", (count, *values.shape[2:])).astype(np.int64)
        counts = (labels >= 0) & (labels != _IGNORED)
        if (labels[counts] >= classes).any():
            raise DataError(
                f"label {labels[counts].max()} is beyond the network's {classes} classes",
                samples.where,
                "count the classes from 0; 255 stands for none",
            )
        called = values.argmax(axis=1)
        return np.stack(
            [
                [np.bincount(which[one], minlength=classes) for which, one in parts]
                for parts in (
                    ((c, m & (c == y)), (c, m), (y, m))
                    for c, y, m in zip(called, labels, counts, strict=True)
                )
            ]
        )

    def value(self, units: Array) -> float:
        """Mean over the classes that were met or called."""
        return mean_of(list(_each(units).values()))

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``pixel_accuracy``, and ``iou_per_class``."""
        right, _, of_class = units.sum(axis=0)
        each = {str(number): value for number, value in _each(units).items()}
        return {
            "pixel_accuracy": float(right.sum() / max(of_class.sum(), 1)),
            "iou_per_class": each,
        }


def _each(units: Array) -> dict[int, float]:
    right, called, of_class = units.sum(axis=0).astype(np.float64)
    union = called + of_class - right
    return {int(c): float(right[c] / union[c]) for c in np.flatnonzero(union)}
