"""Tasks by name, of installed packages, and of modules of one's own."""

from __future__ import annotations

import sys

import pytest

from pimc.errors import UsageError
from pimc.tasks.find import checked_task, task_named, tasks
from pimc.tasks.values import Regression

OWN = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pimc.tasks.metric import Metric
from pimc.tasks.task import Samples, Task, first


@dataclass(frozen=True)
class Largest(Task):
    """Mean of the largest output."""

    name: ClassVar[str] = "largest"
    metric: ClassVar[Metric] = Metric("largest value", "V", higher_is_better=False)
    distills: ClassVar[str] = "values"
    needs: ClassVar[tuple[str, ...]] = ()

    def scores(self, outputs, samples: Samples):
        return first(outputs).max(axis=1)

    def value(self, units):
        return float(np.mean(units))


NO_TASK = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module ``own_tasks`` that can be imported."""
    (tmp_path / "own_tasks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_tasks"
    sys.modules.pop("own_tasks", None)


@pytest.mark.parametrize("name", tasks())
def test_every_task_is_found_under_its_name_and_says_what_it_is(name) -> None:
    task = task_named(name)
    assert task.name == name
    assert type(task).__doc__
    assert task.metric.direction in ("higher", "lower")


def test_a_task_of_a_module(module) -> None:
    task = task_named("own_tasks:Largest")
    assert (task.name, task.metric.unit) == ("largest", "V")


def test_what_is_no_task_is_refused_by_name(module) -> None:
    for name, message in [
        ("clasification", r"no such task \(did you mean classification\?\)"),
        ("own_tasks:NO_TASK", "is no task: it has no name, metric"),
        ("own_tasks:Gone", "cannot be loaded: module 'own_tasks' has no attribute 'Gone'"),
        ("no_such_module:Task", "cannot be loaded: No module named 'no_such_module'"),
    ]:
        with pytest.raises(UsageError, match=message):
            task_named(name)


def test_what_a_module_prints_is_no_answer(here, monkeypatch, capsys) -> None:
    (here / "talking_tasks.py").write_text(f"print('hello')\n{OWN}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "talking_tasks", raising=False)
    task_named("talking_tasks:Largest")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_class_is_made_and_what_recovery_does_not_know_is_refused() -> None:
    assert checked_task(Regression, "mine") == Regression()

    class Strange(Regression):
        distills = "nonsense"  # type: ignore[assignment]

    with pytest.raises(UsageError, match="mine: distills 'nonsense', which is none of classes"):
        checked_task(Strange, "mine")
