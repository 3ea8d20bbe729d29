"""Values: regression, and how well a network gives its input back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import DataError
from pimc.tasks.labels import AUC, yes_or_no
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import auc, auc_influence, mean_of
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["Anomaly", "Regression"]


@dataclass(frozen=True)
class Regression(Task):
    """Root mean square error of the first output's values against ``y``.

    Units are (samples, 2, values): outputs and targets.
    """

    name: ClassVar[str] = "regression"
    metric: ClassVar[Metric] = Metric("RMSE", higher_is_better=False, low=0.0)
    distills: ClassVar[Distilled] = "values"

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Outputs and targets."""
        values = first(outputs)
        if not values.ndim:
            raise unlike(values, "(samples, …)", self.name)
        flat = values.reshape(len(values), -1)
        wanted = samples.targets.get("y")
        shape = (
            (len(flat),)
            if flat.shape[1] == 1 and wanted is not None and wanted.ndim == 1
            else values.shape
        )
        wanted = target(samples, "y", shape, "iubf")
        return np.stack([flat, wanted.reshape(flat.shape)], axis=1).astype(np.float64)

    def value(self, units: Array) -> float:
        """√ of the mean square over samples and values."""
        return math.sqrt(float(np.square(units[:, 0] - units[:, 1]).mean()))

    def influence(self, units: Array) -> Array:
        """The delta method: (e² − e²'s mean) / 2 RMSE."""
        squares = np.square(units[:, 0] - units[:, 1]).mean(axis=1)
        found: Array = (squares - squares.mean()) / max(2 * self.value(units), 1e-300)
        return found

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``r2``, mean over the values that vary, and ``mae``, the mean absolute error."""
        found, wanted = units[:, 0], units[:, 1]
        left = np.square(found - wanted).sum(axis=0)
        power = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
        r2 = mean_of([1 - a / b if b else math.nan for a, b in zip(left, power, strict=True)])
        told = {} if math.isnan(r2) else {"r2": r2}
        return {**told, "mae": float(np.abs(found - wanted).mean())}


@dataclass(frozen=True)
class Anomaly(Task):
    """AUC of the reconstruction error as a score of anomaly, clip by clip.

    The error is the mean square of the first output less the first input. Data may say under
    ``clip`` which samples belong together: a clip's score is the mean of its samples' errors.
    ``y`` is 1 for samples of anomalous clips. Units are (clips, 2): score and label.
    """

    name: ClassVar[str] = "anomaly"
    metric: ClassVar[Metric] = AUC
    distills: ClassVar[Distilled] = "values"
    uses: ClassVar[tuple[str, ...]] = ("clip",)

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Error, label and clip; without clips each sample is one, told by −1."""
        found, given = first(outputs), next(iter(samples.inputs.values()))
        if found.size != given.size or found.shape[:1] != given.shape[:1]:
            raise unlike(found, f"{list(given.shape)}, that of the input", self.name)
        count = len(found)
        labels = yes_or_no(samples, (count,))
        clips = np.full(count, -1)
        if "clip" in samples.targets:
            clips = target(samples, "clip", (count,))
            if clips.min(initial=0) < 0:
                raise DataError("clip holds negative numbers", samples.where, "count from 0")
        off = found.reshape(count, -1).astype(np.float64) - given.reshape(count, -1)
        return np.stack([np.square(off).mean(axis=1), labels, clips], axis=1)

    def units(self, scores: Array) -> Array:
        """Means over the samples of each clip."""
        if (scores[:, 2] < 0).all():
            return scores[:, :2]
        _, of_sample, counts = np.unique(scores[:, 2], return_inverse=True, return_counts=True)
        columns = [np.bincount(of_sample, weights=part) / counts for part in scores[:, :2].T]
        return np.stack(columns, axis=1)

    def value(self, units: Array) -> float:
        """AUC."""
        return auc(units[:, 0], units[:, 1] > 0)

    def influence(self, units: Array) -> Array:
        """The components of DeLong et al."""
        return auc_influence(units[:, 0], units[:, 1] > 0)
