"""Speech: tokens out of a CTC network's outputs, and how many words are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.errors import UsageError
from pimc.tasks.metric import Metric
from pimc.tasks.task import Array, Distilled, Samples, Task, first, target, unlike

__all__ = ["Speech"]


@dataclass(frozen=True)
class Speech(Task):
    """Word error rate of the best path of a CTC network (words wrong over words said), by jiwer.

    The first output is (recordings, steps, tokens): the largest value of each step names its
    token, equal neighbours are one, blanks fall away (A. Graves et al.,
    doi:10.1145/1143844.1143891). ``y`` is (recordings, most) numbers of the tokens that were said,
    negative where a recording has fewer. Units are (recordings, 2): words wrong, and words said.

    Attributes:
        blank: number of the blank.
        space: number of the token between words; None where every token is a word.
    """

    blank: int = 0
    space: int | None = None

    name: ClassVar[str] = "speech"
    metric: ClassVar[Metric] = Metric("word error rate", "%", higher_is_better=False, low=0.0)
    distills: ClassVar[Distilled] = "tokens"

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Words wrong and words said, recording by recording.

        Raises:
            UsageError: jiwer is not installed.
        """
        try:
            from jiwer import process_words
        except ImportError as cause:
            raise UsageError(
                "speech needs the package jiwer", hint="pip install 'pimc[speech]'"
            ) from cause
        values = first(outputs)
        wanted = samples.targets["y"]
        if values.ndim != 3:
            raise unlike(values, "(recordings, steps, tokens)", self.name)
        said = target(samples, "y", (len(values), *wanted.shape[1:2]))
        rows = []
        for path, tokens in zip(values.argmax(axis=2), said, strict=True):
            starts = np.concatenate([[True], path[1:] != path[:-1]])
            heard = self._words(path[starts & (path != self.blank)])
            words = self._words(tokens[tokens >= 0])
            found = process_words(words, heard) if words else None
            wrong = (
                found.substitutions + found.deletions + found.insertions
                if found
                else len(heard.split())
            )
            rows.append((wrong, len(words.split())))
        return np.array(rows, np.float64)

    def _words(self, tokens: Array) -> str:
        """Tokens as text: their numbers, joined within a word."""
        if self.space is None:
            return " ".join(map(str, tokens))
        parts = np.split(tokens, np.flatnonzero(tokens == self.space))
        words = ("-".join(str(token) for token in part if token != self.space) for part in parts)
        return " ".join(word for word in words if word)

    def value(self, units: Array) -> float:
        """Wrong over said; NaN where nothing was said."""
        wrong, said = units.sum(axis=0)
        return float(wrong / said) if said else math.nan

    def influence(self, units: Array) -> Array:
        """That of a ratio of sums: the delta method."""
        wrong, said = units.T
        found: Array = (wrong - self.value(units) * said) / max(said.mean(), 1e-12)
        return found

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``recordings_right``: share of recordings without a wrong word."""
        return {"recordings_right": float((units[:, 0] == 0).mean())}
