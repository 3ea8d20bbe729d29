"""How good a network must be at least: ``--min-accuracy``, ``--min-metric`` and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pimc.cli.options.fields import option
from pimc.cli.options.task import stored
from pimc.cli.options.values import NUMBER, within

if TYPE_CHECKING:
    from pimc.tasks.metric import Metric
    from pimc.tasks.task import Task

__all__ = ["LimitOptions"]


@dataclass(frozen=True)
class LimitOptions:
    """What the mean over the dies must reach, and how far it may lie from the float network's."""

    min_accuracy: float | None = option(
        "--min-accuracy",
        type=within(0, 100),
        metavar="P",
        help="Exit with 1 if the mean is below P: 0.9, or 90 for per cent.",
    )
    min_metric: float | None = option(
        "--min-metric",
        type=NUMBER,
        metavar="V",
        help="The same for a metric that is better the higher.",
    )
    max_metric: float | None = option(
        "--max-metric",
        type=NUMBER,
        metavar="V",
        help="Exit with 1 if the mean of a metric that is better the lower is above V.",
    )
    max_drop: float | None = option(
        "--max-drop",
        type=within(0),
        metavar="V",
        help="Exit with 1 if the mean is worse than the float network's by more than V: points"
        " where the metric is in per cent, else in its own unit.",
    )

    def wanted(self, task: Task) -> float | None:
        """What the metric must reach; None where nothing was asked for.

        Raises:
            UsageError: a limit that the task's metric cannot be held to.
        """
        from pimc.errors import UsageError

        metric = task.metric
        given = {
            "--min-accuracy": self.min_accuracy,
            "--min-metric": self.min_metric,
            "--max-metric": self.max_metric,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise UsageError(f"{' and '.join(named)} exclude each other", hint="give one of them")
        if not named:
            return None
        (name,) = named
        side = "--min-metric" if metric.higher_is_better else "--max-metric"
        if name != side and not (name == "--min-accuracy" and metric.key == "accuracy"):
            raise UsageError(
                f"the task {task.name} tells the {metric.name}, which is better the "
                f"{metric.direction}",
                where=name,
                hint=f"give {side}",
            )
        return stored(metric, given[name])

    def result(self, task: Task, value: float, in_float: float | None) -> dict[str, Any]:
        """The limits, what the value is worse by than the float network's, and ``ok``.

        Raises:
            UsageError: a limit that this metric or image cannot be held to.
        """
        metric = task.metric
        wanted, drop, allowed = self.wanted(task), None, self.allowed(metric, in_float)
        if in_float is not None:
            drop = metric.worse_by(value, in_float)
        reached = wanted is None or metric.worse_by(value, wanted) <= 0
        near = allowed is None or (drop is not None and drop <= allowed)
        side = "min" if metric.higher_is_better else "max"
        limits = {f"{side}_accuracy": wanted, "drop": drop, "max_drop": allowed}
        return {**limits, "ok": reached and near}

    def allowed(self, metric: Metric, in_float: float | None) -> float | None:
        """How much worse than the float network's the metric may be.

        Raises:
            UsageError: the image holds no float network.
        """
        from pimc.errors import UsageError

        if self.max_drop is None:
            return None
        if in_float is None:
            raise UsageError(
                "the image holds no float weights to compare with",
                where="--max-drop",
                hint="compile without --no-teacher",
            )
        return self.max_drop / metric.scale

    def texts(self, metric: Metric, result: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Lines for people: each limit that was given, and whether it is kept."""
        value, drop, allowed = result["accuracy_mean"], result["drop"], result["max_drop"]
        side = "min" if metric.higher_is_better else "max"
        wanted, lines = result[f"{side}_accuracy"], []
        if wanted is not None:
            verdict = "reached" if metric.worse_by(value, wanted) <= 0 else "NOT reached"
            lines.append((f"{side}imum", f"{metric.text(wanted)} {verdict}"))
        if allowed is not None:
            verdict = "kept" if drop <= allowed else "NOT kept"
            told = f"{metric.number(drop)} of {metric.number(allowed)} allowed, {verdict}"
            lines.append(("drop", told))
        return lines
