"""Two classes, or several labels at once: what counts is how scores order the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import DataError
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import auc, auc_influence, mean_of
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["AUC", "Binary", "MultiLabel", "yes_or_no"]

AUC = Metric("AUC", low=0.0, high=1.0)


@dataclass(frozen=True)
class Binary(Task):
    """AUC of a network with one score a sample, or two classes of which the second is positive.

    Units are (samples, 3): the score, whether ``y`` is 1, and whether it is one score rather than
    the difference of two. It is called positive above 1/2 where all are one score and from 0 to 1,
    else above 0; AUC does not depend on it.
    """

    name: ClassVar[str] = "binary"
    metric: ClassVar[Metric] = AUC
    distills: ClassVar[Distilled] = "labels"

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Score, label and kind."""
        values = first(outputs)
        flat = values.reshape(values.shape[0], -1) if values.ndim else values
        if flat.ndim != 2 or flat.shape[1] not in (1, 2):
            raise unlike(values, "(samples,), (samples, 1) or (samples, 2)", self.name)
        labels = yes_or_no(samples, (len(flat),))
        single = flat.shape[1] == 1
        score = flat[:, 0] if single else flat[:, 1] - flat[:, 0]
        return np.stack([score.astype(np.float64), labels, np.full(len(flat), single)], axis=1)

    def value(self, units: Array) -> float:
        """AUC."""
        return auc(units[:, 0], units[:, 1])

    def influence(self, units: Array) -> Array:
        """The components of DeLong et al."""
        return auc_influence(units[:, 0], units[:, 1])

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``f1`` at the threshold, and ``accuracy`` there."""
        threshold = _threshold(units[:, 0]) if units[:, 2].all() else 0.0
        called, positive = units[:, 0] > threshold, units[:, 1] > 0
        return {"f1": _f1(called, positive), "accuracy": float((called == positive).mean())}


@dataclass(frozen=True)
class MultiLabel(Task):
    """Mean AUC over labels of a network with one score a label; ``y`` is 0 or 1 for each.

    Units are (samples, 2, labels): scores, and whether each label is set.
    """

    name: ClassVar[str] = "multi-label"
    metric: ClassVar[Metric] = Metric("mean AUC", low=0.0, high=1.0)
    distills: ClassVar[Distilled] = "labels"

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Scores and labels."""
        values = first(outputs)
        if values.ndim != 2:
            raise unlike(values, "(samples, labels)", self.name)
        labels = yes_or_no(samples, values.shape)
        return np.stack([values.astype(np.float64), labels], axis=1)

    def value(self, units: Array) -> float:
        """Mean of the AUC of the labels of which both kinds were met."""
        return mean_of(_each(units))

    def influence(self, units: Array) -> Array:
        """Means of the components of DeLong et al. over those labels."""
        met = [n for n, found in enumerate(_each(units)) if not np.isnan(found)]
        parts = [auc_influence(units[:, 0, n], units[:, 1, n]) for n in met]
        return np.mean(parts, axis=0) if parts else np.zeros(len(units))

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``f1`` of all decisions together, ``f1_mean`` over labels, ``auc_per_label``."""
        called, positive = units[:, 0] > _threshold(units[:, 0]), units[:, 1] > 0
        each = [_f1(c, p) for c, p in zip(called.T, positive.T, strict=True)]
        found = {str(n): value for n, value in enumerate(_each(units)) if not np.isnan(value)}
        return {
            "f1": _f1(called.ravel(), positive.ravel()),
            "f1_mean": float(np.mean(each)),
            "auc_per_label": found,
        }


def yes_or_no(samples: Samples, shape: tuple[int, ...]) -> Array:
    """``y`` of this shape, which holds 0 and 1 alone.

    Raises:
        DataError: there is none, or another.
    """
    labels = target(samples, "y", shape, "iubf")
    if not np.isin(labels, (0, 1)).all():
        raise DataError("y holds other values than 0 and 1", samples.where, "give 1 for yes")
    found: Array = labels > 0
    return found


def _each(units: Array) -> list[float]:
    return [auc(units[:, 0, n], units[:, 1, n]) for n in range(units.shape[2])]


def _threshold(scores: Array) -> float:
    """Where a score is called positive: 1/2 of probabilities, 0 of logits."""
    return 0.5 if scores.min(initial=0) >= 0 and scores.max(initial=0) <= 1 else 0.0


def _f1(called: Array, positive: Array) -> float:
    """2 TP / (2 TP + FP + FN); 0 where nothing is positive and nothing is called so."""
    right = int((called & positive).sum())
    total = int(called.sum()) + int(positive.sum())
    return 2 * right / total if total else 0.0
