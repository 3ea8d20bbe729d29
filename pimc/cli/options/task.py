"""``--task``: what outputs mean, and which figure is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pimc.cli.options.fields import option
from pimc.cli.options.values import TASK

if TYPE_CHECKING:
    from pimc.tasks.metric import Metric
    from pimc.tasks.task import Task

__all__ = ["keyed", "stored", "task_of", "task_option", "told_of"]


def task_option(help: str) -> str | None:
    """``--task``; None where it was not given."""
    return option("--task", type=TASK, metavar="NAME|MODULE:NAME", help=help)


def task_of(name: str | None) -> Task:
    """The task of this name; classification where none is given.

    Raises:
        UsageError: there is no such task, or it cannot be loaded.
    """
    from pimc.tasks.find import task_named

    return task_named("classification" if name is None else name)


def told_of(task: Task) -> dict[str, str]:
    """What JSON tells of a task and its metric."""
    metric = task.metric
    return {
        "task": task.name,
        "metric": metric.name,
        "metric_unit": metric.unit,
        "direction": metric.direction,
    }


def keyed(task: Task, result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with ``metric`` in place of ``accuracy`` in its keys, where it is none."""
    return {name.replace("accuracy", task.metric.key): value for name, value in result.items()}


def stored(metric: Metric, value: float | None) -> float | None:
    """A value as the metric has it: of shares in per cent numbers above 1 are per cent."""
    per_cent = metric.unit == "%" and value is not None and value > 1
    return value / 100 if per_cent and value is not None else value
