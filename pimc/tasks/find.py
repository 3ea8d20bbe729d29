"""Tasks by name: ours, those of installed packages, and ``module:name``."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any, cast, get_args

from pimc.errors import UsageError
from pimc.files.entry_points import Extensions
from pimc.tasks.classification import Classification
from pimc.tasks.detection import Detection
from pimc.tasks.embedding import Embedding, Similarity
from pimc.tasks.labels import Binary, MultiLabel
from pimc.tasks.language import LanguageModel
from pimc.tasks.metric import Metric
from pimc.tasks.segmentation import Segmentation
from pimc.tasks.speech import Speech
from pimc.tasks.task import Distilled, Task
from pimc.tasks.values import Anomaly, Regression

__all__ = ["ENTRY_POINT_GROUP", "checked_task", "task_named", "tasks"]

ENTRY_POINT_GROUP = "pimc.tasks"
_BUILT_IN: dict[str, type[Task]] = {
    kind.name: kind
    for kind in (
        Classification, Binary, MultiLabel, Regression, Anomaly, Embedding, Similarity,
        LanguageModel, Segmentation, Detection, Speech,
    )
}  # fmt: skip
_TASKS = Extensions(ENTRY_POINT_GROUP, "task", _BUILT_IN, listed="there are")
_MEMBERS = ("name", "metric", "distills", "needs", "against_float", "scores", "value", "units")


def tasks() -> list[str]:
    """Names of all tasks: ours in their order, then those of other packages."""
    return _TASKS.names()


def task_named(name: str) -> Task:
    """The task of this name, or of ``module:name``: an instance, or a class made without arguments.

    Raises:
        UsageError: there is none, it cannot be loaded, or it is no task.
    """
    return checked_task(_of_module(name) if ":" in name else _TASKS.load(name), name)


def checked_task(found: Any, name: str) -> Task:
    """A task, or that of a class which is made without arguments.

    Args:
        name: what it is called in errors.

    Raises:
        UsageError: it is no task, or cannot be made.
    """
    try:
        task = found() if isinstance(found, type) else found
    except Exception as cause:
        raise UsageError(f"cannot be made: {cause}", name, "make it without arguments") from cause
    missing = [member for member in _MEMBERS if not hasattr(task, member)]
    if missing or not isinstance(task.metric, Metric):
        what = f"it has no {', '.join(missing)}" if missing else "its metric is no Metric"
        raise UsageError(f"is no task: {what}", name, "derive it from pimc.tasks.task.Task")
    if task.distills not in get_args(Distilled):
        known = ", ".join(get_args(Distilled))
        raise UsageError(f"distills {task.distills!r}, which is none of {known}", name)
    return cast("Task", task)


def _of_module(name: str) -> Any:
    """What a module holds; it is looked for in the current folder, too, last of all."""
    module, _, attribute = name.partition(":")
    # It stays there: worker processes get the path, and import the task again.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no answer of a command's
            found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as cause:  # whatever a foreign module does when imported
        why = str(cause) or type(cause).__name__
        raise UsageError(
            f"cannot be loaded: {why}", name, "give MODULE:NAME of an importable module"
        ) from cause
    return found
