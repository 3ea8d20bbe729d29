"""What many recovered dies say together: means, intervals, and the share that is good enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from pimc.errors import UsageError
from pimc.studies.intervals import deviation, interval, known_ends, mean_interval, wilson_interval
from pimc.studies.tables.row_file import Row
from pimc.tasks.metric import Metric

__all__ = ["Target", "figures_of", "reached", "summary_of"]


@dataclass(frozen=True)
class Target:
    """How good a die must be.

    Attributes:
        value: what the metric must reach, as the metric has it.
        drop: how much worse than the float network's it may be, likewise; one of both at most.
    """

    value: float | None = None
    drop: float | None = None

    def limit(self, metric: Metric, in_float: float | None) -> float | None:
        """The worst value that is good enough; None where nothing was asked for.

        Raises:
            UsageError: there is nothing to hold dies to.
        """
        if self.value is None and self.drop is None:
            return None
        if in_float is None:
            raise UsageError(
                "a target needs labelled data to hold dies to it",
                where="--target" if self.drop is None else "--max-drop",
                hint="name some with --data",
            )
        if self.drop is None:
            return self.value
        return in_float - self.drop if metric.higher_is_better else in_float + self.drop


def figures_of(rows: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """The figure before and after, of the dies of which both are known."""
    both = [(row[f"{key}_before"], row[f"{key}_after"]) for row in rows]
    known = [(before, after) for before, after in both if None not in (before, after)]
    return [before for before, _ in known], [after for _, after in known]


def summary_of(rows: Sequence[Row], metric: Metric, limit: float | None = None) -> dict[str, Any]:
    """What the rows of dies say together; it follows from them alone.

    Args:
        limit: the worst value of the metric that is good enough.

    Returns:
        ``dies, failed``, and ``metric`` (None without labelled data), ``loss`` and ``agreement``
        on held-out calibration data, each with ``before, after`` and ``gained``; and ``within``.
    """
    sound = [row for row in rows if not row["error"]]
    samples = next((row["samples"] for row in sound if row["samples"]), None)
    before, after = figures_of(sound, metric.key)
    loss = Metric("held-out loss", higher_is_better=False)
    agreement = Metric("agreement", "%", low=0.0, high=1.0)
    return {
        "dies": len(rows),
        "failed": len(rows) - len(sound),
        "metric": _compared(before, after, metric, samples if metric.key == "accuracy" else None),
        "loss": _compared(*figures_of(sound, "loss"), loss),
        "agreement": _compared(*figures_of(sound, "agreement"), agreement),
        "within": _within(sound, metric, limit),
    }


def reached(within: Mapping[str, Any] | None, min_yield: float) -> bool:
    """Whether so many per cent of the dies are within the target after recovery.

    Args:
        within: of :func:`summary_of`.
    """
    # By the count: a share's per cent are rounded.
    return within is not None and 100 * within["after"]["dies"] >= min_yield * within["after"]["of"]


def _compared(
    before: Sequence[float], after: Sequence[float], metric: Metric, samples: int | None = None
) -> dict[str, Any] | None:
    if not before:
        return None
    sign = 1 if metric.higher_is_better else -1
    won = [sign * (b - a) for a, b in zip(before, after, strict=True)]
    ends = mean_interval(won) if len(won) > 1 else (None, None)
    return {
        "before": _spread(before, metric, samples),
        "after": _spread(after, metric, samples),
        "gained": {"mean": mean(won), "std": deviation(won), "interval_95": list(ends)},
    }


def _spread(values: Sequence[float], metric: Metric, samples: int | None) -> dict[str, Any]:
    """Mean and standard deviation over dies, and what they leave open."""
    ends: tuple[float | None, float | None] = (None, None)
    if samples is not None:
        ends = known_ends(interval(values, samples))
    elif len(values) > 1:
        low, high = mean_interval(values)
        ends = max(low, metric.low), min(high, metric.high)
    return {
        "mean": mean(values),
        "std": deviation(values),
        "interval_95": list(ends),
        "lowest": min(values),
        "highest": max(values),
    }


def _within(rows: Sequence[Row], metric: Metric, limit: float | None) -> dict[str, Any] | None:
    """How many dies are good enough, and the share with Wilson's interval over dies.

    A die whose figure before is not known counts after; None where nothing is known of any.
    """
    if limit is None or all(row[f"{metric.key}_after"] is None for row in rows):
        return None
    found: dict[str, Any] = {"target": limit}
    for when in ("before", "after"):
        values = [v for v in (row[f"{metric.key}_{when}"] for row in rows) if v is not None]
        count = sum(metric.worse_by(value, limit) <= 0 for value in values)
        share = count / len(values) if values else None
        ends = (None, None) if share is None else wilson_interval(share, len(values))
        found[when] = {
            "dies": count, "of": len(values), "share": share, "interval_95": list(ends),
        }  # fmt: skip
    return found
