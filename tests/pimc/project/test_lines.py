"""A file's command lines are those of the steps that led to it, and of no others."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.project.lines import lines_of
from pimc.project.steps import Record, Steps

DIE, IMAGE, NEXT = "file:chip.die", "file:m.pimc", "file:out/m.r1.pimc"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which an image was compiled, and a die programmed and recovered."""
    (tmp_path / "out").mkdir()
    for name in ("m.pimc", "out/m.r1.pimc", "chip.die", "other.pimc"):
        (tmp_path / name).write_text(name)
    image, after, die = (sha256_file(tmp_path / name.split(":")[1]) for name in (IMAGE, NEXT, DIE))
    note(tmp_path, "compile", "1", outputs={IMAGE: "old"}, line="pimc compile --levels 4")
    note(tmp_path, "compile", "2", outputs={IMAGE: image})
    note(tmp_path, "eval", "3", inputs={IMAGE: image}, dies={DIE: ("d1", "d1")})
    note(tmp_path, "program", "3", inputs={IMAGE: image}, dies={DIE: (None, "d1")})
    note(tmp_path, "recover", "4", inputs={IMAGE: image}, outputs={NEXT: after},
         dies={DIE: ("d1", die)}, line="pimc recover -o out/m.r1.pimc")  # fmt: skip
    return tmp_path


def note(project: Path, command: str, finished: str, **changed: Any) -> None:
    values: dict[str, Any] = {
        "version": "1", "command": command, "options": {}, "defaults": {}, "inputs": {},
        "outputs": {}, "dies": {}, "data": {}, "text": "", "answer": True, "finished": finished,
        "seconds": 1.0, "line": f"pimc {command}",
    }  # fmt: skip
    Steps(project / ".pimc" / "steps").save(f"{command}-{finished}", Record(**values | changed))


def test_the_steps_before_count_and_those_beside_do_not(project: Path) -> None:
    assert lines_of(project / "m.pimc") == ("pimc compile",)
    whole = ("pimc compile", "pimc program", "pimc recover -o out/m.r1.pimc")
    assert lines_of(project / "out" / "m.r1.pimc") == whole
    assert lines_of(project / "chip.die") == whole


def test_a_file_that_something_else_changed_has_none(project: Path) -> None:
    assert lines_of(project / "other.pimc") == ()
    (project / "m.pimc").write_text("another")
    assert lines_of(project / "m.pimc") == ()


def test_what_was_done_twice_is_told_twice(project: Path) -> None:
    """Two days passed, by the same line; the steps lie less than a second apart."""
    dies = [sha256_file(project / "chip.die"), "d3", "d4"]
    (project / "chip.die").write_text("d4")
    dies[-1] = sha256_file(project / "chip.die")
    for number, (before, after) in enumerate(pairwise(dies)):
        note(project, "age", f"4.{number}", dies={DIE: (before, after)}, line="pimc age 1d")
    assert lines_of(project / "chip.die")[-3:] == (
        "pimc recover -o out/m.r1.pimc", "pimc age 1d", "pimc age 1d",
    )  # fmt: skip


def test_outside_of_a_project_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "m.pimc").write_text("m")
    assert lines_of(tmp_path / "m.pimc") == ()


def test_a_step_without_a_line_is_left_out(project: Path) -> None:
    note(project, "compile", "2", outputs={IMAGE: sha256_file(project / "m.pimc")}, line=None)
    assert lines_of(project / "m.pimc") == ()


def test_dies_that_led_to_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "chip.die").write_text("d")
    now = sha256_file(tmp_path / "chip.die")
    note(tmp_path, "a", "1", dies={DIE: ("d1", now)})
    note(tmp_path, "b", "2", dies={DIE: (now, "d1")})
    assert lines_of(tmp_path / "chip.die") == ("pimc a", "pimc b")


def test_many_rounds_are_looked_at_once_each(tmp_path: Path) -> None:
    (tmp_path / "m.pimc").write_text("m")
    last = sha256_file(tmp_path / "m.pimc")
    for number in range(40):
        made = last if number == 39 else f"i{number + 1}"
        note(tmp_path, "recover", f"{number:02}", inputs={IMAGE: f"i{number}"},
             outputs={IMAGE: made}, dies={DIE: (f"d{number}", f"d{number + 1}")},
             line=f"pimc recover --seed {number}")  # fmt: skip
    found = lines_of(tmp_path / "m.pimc")
    assert found == tuple(f"pimc recover --seed {number}" for number in range(40))
