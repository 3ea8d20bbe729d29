"""Language models: how well each token is told from those before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import DataError
from pimc.tasks.metric import Metric
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["LanguageModel"]

_MASK = "attention_mask"
#: Inputs of whole numbers that are no tokens.
_OTHERS = frozenset({_MASK, "position_ids", "token_type_ids"})


@dataclass(frozen=True)
class LanguageModel(Task):
    """Perplexity: exp of the mean of −ln p over the tokens of all windows but each first one.

    The first output is logits (windows, tokens, vocabulary). Tokens are ``y``, as long as the
    window and not shifted, negative where a token does not count; without ``y`` they are the
    first input with whole numbers of that shape that is no mask, position or segment. An input
    ``attention_mask`` says what counts.
    Units are (windows, 3): the sum of −ln p, the number of tokens, and how many of these have the
    largest logit.
    """

    name: ClassVar[str] = "language-model"
    metric: ClassVar[Metric] = Metric("perplexity", higher_is_better=False, low=1.0)
    distills: ClassVar[Distilled] = "tokens"
    needs: ClassVar[tuple[str, ...]] = ()
    whole: ClassVar[bool] = True

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Sums and counts of each window."""
        logits = first(outputs)
        if logits.ndim != 3 or logits.shape[1] < 2:
            raise unlike(logits, "(windows, tokens, vocabulary)", self.name)
        tokens = _tokens(samples, logits.shape[:2])[:, 1:]
        if tokens.max(initial=0) >= logits.shape[2]:
            raise DataError(
                f"token {tokens.max()} is beyond the vocabulary of {logits.shape[2]}", samples.where
            )
        counts = tokens >= 0
        before = logits[:, :-1].astype(np.float64)
        largest = before.max(axis=2)
        total = np.log(np.exp(before - largest[..., None]).sum(axis=2)) + largest
        at = np.take_along_axis(before, np.maximum(tokens, 0)[..., None], axis=2)[..., 0]
        told = ((total - at) * counts).sum(axis=1)
        right = ((before.argmax(axis=2) == tokens) & counts).sum(axis=1)
        return np.stack([told, counts.sum(axis=1), right], axis=1)

    def value(self, units: Array) -> float:
        """Perplexity over all tokens; NaN where none counts."""
        told, count = units[:, :2].sum(axis=0)
        return math.exp(min(told / count, 700.0)) if count else math.nan

    def influence(self, units: Array) -> Array:
        """That of a ratio of sums (the delta method), times the perplexity."""
        told, count = units[:, :2].T
        mean = told.sum() / max(count.sum(), 1)
        found: Array = self.value(units) * (told - mean * count) / max(count.mean(), 1e-12)
        return found

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``next_token``: share of tokens that have the largest logit."""
        return {"next_token": float(units[:, 2].sum() / max(units[:, 1].sum(), 1))}


def _tokens(samples: Samples, shape: tuple[int, ...]) -> Array:
    """(windows, tokens) numbers of tokens, −1 where one does not count."""
    if "y" in samples.targets:
        tokens = target(samples, "y", shape).astype(np.int64)
    else:
        given = (value for name, value in samples.inputs.items() if name not in _OTHERS)
        found = next((v for v in given if v.shape == shape and (v == np.rint(v)).all()), None)
        if found is None:
            raise DataError(
                f"holds no tokens of shape {list(shape)}, that of the output",
                samples.where,
                "save them under y, windows first, or as the network's input",
            )
        tokens = found.astype(np.int64)
    if _MASK not in samples.inputs:
        return tokens
    # It may begin with tokens that went before.
    mask = samples.inputs[_MASK][:, -shape[1] :]
    if mask.shape != shape:
        raise DataError(
            f"{_MASK} has shape {list(mask.shape)} and must have {list(shape)}, that of the tokens",
            samples.where,
        )
    return np.where(mask > 0, tokens, -1)
