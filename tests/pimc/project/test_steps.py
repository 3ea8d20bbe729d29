"""When a step is up to date, and when it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pimc.project.steps import Present, Record, Steps, key_of

DIE = "file:chip.die"


def record(command: str, **changed: Any) -> Record:
    values: dict[str, Any] = {
        "version": "1", "command": command, "options": {}, "defaults": {}, "inputs": {},
        "outputs": {}, "dies": {}, "data": {"a": 1}, "text": "t", "answer": True,
        "finished": "now", "seconds": 1.0,
    }  # fmt: skip
    return Record(**values | changed)


PROGRAM = record("program", inputs={"file:m.pimc": "m"}, dies={DIE: (None, "d1")})
RECOVER = record(
    "recover",
    inputs={"file:m.pimc": "m", "data:c": "c"},
    outputs={"file:m.r1.pimc": "r"},
    dies={DIE: ("d1", "d2")},
)
FILES = {"file:m.pimc": "m", "data:c": "c", "file:m.r1.pimc": "r", DIE: "d2"}


def why(
    steps: Steps,
    one: Record,
    files: Mapping[str, str],
    defaults: Mapping[str, str] | None = None,
    version: str = "1",
) -> str:
    """Why a step is to be done, with these files at hand."""
    present = Present(version, files.get, lambda command: {} if defaults is None else defaults)
    inputs = {label: files.get(label) for label in one.inputs}
    return steps.changed(one, inputs, one.dies, present)


def test_a_record_comes_back(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "steps")
    steps.save("program-1", PROGRAM)
    assert steps.load("program-1") == PROGRAM
    assert list(steps.all()) == [PROGRAM]
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    assert steps.load("other") is None


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    for number, text in enumerate(
        ("", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": 3}')
    ):
        (tmp_path / f"{number}.json").write_text(text)
    assert list(steps.all()) == []


def test_what_changes_is_named(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    files = {"file:m.pimc": "m", "data:c": "c", "file:m.r1.pimc": "r", DIE: "d2"}
    assert why(steps, RECOVER, files) == ""
    assert why(steps, RECOVER, files | {"data:c": "x"}) == "c has changed"
    assert why(steps, RECOVER, files | {"file:m.r1.pimc": "x"}) == "m.r1.pimc has changed"
    assert why(steps, RECOVER, files | {DIE: "x"}) == "chip.die has changed"
    gone = {label: digest for label, digest in files.items() if label != "file:m.r1.pimc"}
    assert why(steps, RECOVER, gone) == "m.r1.pimc is gone"
    assert why(steps, RECOVER, files, version="2") == "pimc is 2, it was 1"
    present = Present("1", files.get, lambda command: {})
    added = {**RECOVER.inputs, "file:f.csv": "f"}
    assert steps.changed(RECOVER, added, RECOVER.dies, present) == "f.csv has changed"
    more = [DIE, "file:another.die"]
    assert steps.changed(RECOVER, RECOVER.inputs, more, present) == "there are other dies"


def test_a_die_may_be_what_later_steps_made_of_it(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    assert why(steps, PROGRAM, FILES) == "chip.die has changed"
    steps.save("recover-1", RECOVER)
    assert why(steps, PROGRAM, FILES) == ""
    steps.save("eval-1", record("eval", dies={DIE: ("d2", "d3")}))
    assert why(steps, PROGRAM, FILES | {DIE: "d3"}) == ""
    assert why(steps, RECOVER, FILES | {DIE: "d3"}) == ""
    assert why(steps, PROGRAM, FILES | {DIE: "d4"}) == "chip.die has changed"


def test_but_only_where_these_steps_are_up_to_date(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    steps.save("recover-1", RECOVER)
    changed = "chip.die has changed"
    assert why(steps, PROGRAM, FILES | {"data:c": "x"}) == changed
    assert why(steps, PROGRAM, FILES | {"file:m.r1.pimc": "x"}) == changed
    assert why(steps, PROGRAM, FILES, defaults={"budget": "5"}) == changed
    steps.save("recover-1", replace(RECOVER, version="0"))
    assert why(steps, PROGRAM, FILES) == changed


def test_dies_that_led_to_each_other_end(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    steps.save("age-1", record("a", dies={DIE: ("d1", "d2")}))
    steps.save("age-2", record("b", dies={DIE: ("d2", "d1")}))
    assert why(steps, PROGRAM, FILES | {DIE: "d9"}) == "chip.die has changed"


def test_options_make_the_key() -> None:
    assert key_of("a", {"x": "1", "y": "2"}) == key_of("a", {"y": "2", "x": "1"})
    assert len({key_of("a", {"x": "1"}), key_of("a", {"x": "2"}), key_of("b", {"x": "1"})}) == 3
