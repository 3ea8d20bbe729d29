"""Embeddings: how near samples lie to each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import Interval, bootstrap_interval, spearman
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["Embedding", "Similarity"]

#: Samples of which all pairs are looked at; of more data they are spread evenly.
_PAIRED = 256
#: Draws of an interval: all pairs are ranked anew for each.
_DRAWS = 200
#: Neighbours among which the float network's nearest one is looked for.
_NEIGHBOURS = (1, 10)


@dataclass(frozen=True)
class Embedding(Task):
    """Spearman's correlation of the cosines of all pairs of samples with the float network's.

    An output (samples, tokens, values) is averaged over the tokens that an input
    ``attention_mask`` leaves. Units are (samples, 1 + 2 × values): number of the sample, its
    vector and the float network's, each of length one; 256 samples at most, spread evenly.
    """

    name: ClassVar[str] = "embedding"
    metric: ClassVar[Metric] = Metric("Spearman correlation", low=-1.0, high=1.0)
    distills: ClassVar[Distilled] = "directions"
    needs: ClassVar[tuple[str, ...]] = ()
    against_float: ClassVar[bool] = True

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Both vectors of each sample."""
        vectors = [_vectors(first(found), samples) for found in (outputs, samples.wanted)]
        return np.concatenate(vectors, axis=1)

    def units(self, scores: Array) -> Array:
        """Those samples whose pairs are looked at, numbered."""
        count = min(_PAIRED, len(scores))
        chosen = np.linspace(0, len(scores) - 1, count).round().astype(np.int64)
        return np.concatenate([chosen[:, None], scores[chosen]], axis=1)

    def value(self, units: Array) -> float:
        """The correlation; NaN of fewer than three samples."""
        ours, theirs, other = _cosines(units)
        upper = np.triu(other, 1)
        return spearman(ours[upper], theirs[upper]) if upper.sum() > 1 else math.nan

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``recall_at_1``, ``…10``: the float network's nearest sample is among so many here."""
        ours, theirs, other = _cosines(units)
        nearest = np.where(other, theirs, -2).argmax(axis=1)
        order = np.argsort(-np.where(other, ours, -2), axis=1, kind="stable")
        place = (order == nearest[:, None]).argmax(axis=1)
        return {f"recall_at_{k}": float((place < k).mean()) for k in _NEIGHBOURS}

    def resampled(self, value: Callable[[npt.NDArray[np.intp]], float], units: int) -> Interval:
        """Bootstrap over samples, not pairs: pairs share them."""
        return bootstrap_interval(value, units, draws=_DRAWS)


@dataclass(frozen=True)
class Similarity(Task):
    """Spearman's correlation of the cosines of given pairs with how alike people find them.

    ``pair`` numbers the pair of each sample, two samples a pair; ``y`` is how alike they are, the
    same at both. Units are (pairs, 2): cosine and ``y``.
    """

    name: ClassVar[str] = "similarity"
    metric: ClassVar[Metric] = Metric("Spearman correlation", low=-1.0, high=1.0)
    distills: ClassVar[Distilled] = "directions"
    needs: ClassVar[tuple[str, ...]] = ("y", "pair")

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Pair, likeness and vector of each sample."""
        vectors = _vectors(first(outputs), samples)
        pair = target(samples, "pair", (len(vectors),))
        alike = target(samples, "y", (len(vectors),), "iubf")
        return np.concatenate([pair[:, None], alike[:, None], vectors], axis=1)

    def units(self, scores: Array) -> Array:
        """One row a pair of which both samples were met.

        Raises:
            DataError: a pair of more than two samples, or of which ``y`` says two things.
        """
        numbers, counts = np.unique(scores[:, 0], return_counts=True)
        if counts.max() > 2:
            message = f"pair {numbers[counts.argmax()]:.0f} has {counts.max()} samples, not two"
            raise DataError(message, hint="give every pair a number of its own")
        order = np.argsort(scores[:, 0], kind="stable")
        pair, alike, vectors = scores[order, 0], scores[order, 1], scores[order, 2:]
        starts = np.flatnonzero(pair[:-1] == pair[1:])
        unlike_each_other = starts[alike[starts] != alike[starts + 1]]
        if len(unlike_each_other):
            message = f"y differs within pair {pair[unlike_each_other[0]]:.0f}"
            raise DataError(message, hint="y says how alike the two are: give both the same")
        cosines = (vectors[starts] * vectors[starts + 1]).sum(axis=1)
        return np.stack([cosines, alike[starts]], axis=1)

    def value(self, units: Array) -> float:
        """The correlation."""
        return spearman(units[:, 0], units[:, 1])


def _vectors(values: Array, samples: Samples) -> Array:
    """(samples, values) vectors of length one; token by token outputs are averaged."""
    if values.ndim == 3:
        mask = samples.inputs.get("attention_mask", np.ones(values.shape[:2]))
        if mask.shape != values.shape[:2]:
            tokens = f"(samples, {mask.shape[-1]} tokens of attention_mask, values)"
            raise unlike(values, tokens, "embedding")
        weights = mask[..., None].astype(np.float64)
        values = (values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    if values.ndim != 2:
        raise unlike(values, "(samples, values) or (samples, tokens, values)", "embedding")
    lengths = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    found: Array = values / np.maximum(lengths, 1e-12)
    return found


def _cosines(units: Array) -> tuple[Array, Array, Array]:
    """(n, n) cosines here and in the float network, and which pairs are of two samples."""
    ours, theirs = np.split(units[:, 1:], 2, axis=1)
    return ours @ ours.T, theirs @ theirs.T, units[:, :1] != units[:, 0]
