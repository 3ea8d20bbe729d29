"""The page of tasks: its commands run, its example is a task, and it lists every task."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from pimc.studies.evaluate import float_session
from pimc.tasks.find import task_named, tasks

PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text()
COMMANDS = re.findall(r"^    pimc (.+)$", PAGE, re.M)


@pytest.fixture
def files(tiny_image, tiny_inputs, here, monkeypatch):
    """What the page's commands name, on the tiny network."""
    tiny_image.save("model.pimc")
    np.savez("calib.npz", x=tiny_inputs)
    some = tiny_inputs[:32]
    np.savez("values.npz", x=some, y=float_session(tiny_image).run(None, {"x": some})[0])
    (example,) = re.findall(r"```python\n(.+?)```", PAGE, re.S)
    Path("mytasks.py").write_text(example)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("mytasks", None)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(pimc, files, command) -> None:
    done = pimc(*shlex.split(command), "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    assert "metric" in done.json


def test_every_task_has_its_row_with_its_metric() -> None:
    table = PAGE[: PAGE.index("\nTargets lie")]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([^|,]+)", table, re.M))
    for name in tasks():
        metric = task_named(name).metric.name
        assert rows[name].startswith(metric.removesuffix(" correlation")), name
