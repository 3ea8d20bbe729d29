"""Files of a report: the command lines that made them, and the latest recovery of an image."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimc as library
from pimc.image.format.notes import RecoveryNote
from pimc.image.image import Image
from pimc.reports.blocks import Facts
from pimc.reports.files import latest_recovery
from pimc.reports.page import Page
from pimc.studies.recoveries.columns import write_rows
from pimc.tasks.classification import CLASSIFICATION
from tests.pimc.reports.rows import wafer


def lines(page: Page, chapter: int) -> list[str]:
    """What a chapter says of the command lines."""
    facts = [one for one in page.parts[chapter].blocks if isinstance(one, Facts)]
    return [text for one in facts if one.title == "Command lines" for _, text in one.told]


def test_a_report_tells_the_line_that_was_typed_and_so_does_its_image(
    folder: Path, told: dict[str, Any]
) -> None:
    line = "pimc recover tiny.pimc --calib '<b>data</b>'"
    (folder / "tiny.r1.report.json").write_text(json.dumps({**told, "command_line": line}))
    page = library.report(folder / "tiny.r1.report.json")
    assert [lines(page, chapter) for chapter in range(3)] == [[line], [], [line]]
    assert "&lt;b&gt;data" in page.html
    assert "<b>data" not in page.html
    assert lines(library.report(folder / "tiny.r1.pimc"), 0) == [line]
    # A report that lies beside an image of that name by chance says nothing of it.
    Image.load(folder / "tiny.r1.pimc").with_options(packing="x").save(folder / "tiny.r1.pimc")
    assert lines(library.report(folder / "tiny.r1.pimc"), 0) == []


def test_a_table_shows_no_line_of_another_recovery(folder: Path, told: dict[str, Any]) -> None:
    line = "pimc recover tiny.pimc --dies 2"
    (folder / "tiny.r1.report.json").write_text(json.dumps({**told, "command_line": line}))
    rows = [{**row, "output": "tiny.r1.pimc", "parent_sha256": "p"} for row in wafer()]
    table = folder / "tiny.r1.dies.csv"
    for known, shown in ((told["sha256"], [line]), ("another", [])):
        same = [{**row, "image_sha256": known} for row in rows]
        write_rows(table, same, CLASSIFICATION)
        assert lines(library.report(table), 0) == shown


def test_a_table_that_cannot_be_read_is_no_recovery_of_an_image(folder: Path) -> None:
    rows = [{**row, "parent_sha256": "p"} for row in wafer()]
    write_rows(folder / "bad.dies.csv", rows, CLASSIFICATION)
    text = (folder / "bad.dies.csv").read_text()
    (folder / "bad.dies.csv").write_text(text.splitlines()[0] + "\n")
    assert latest_recovery(folder / "tiny.pimc") == folder / "tiny.r1.report.json"


def test_the_latest_recovery_is_the_newest_that_began_from_the_image(
    folder: Path, tiny_image: Image, next_image: Image, told: dict[str, Any]
) -> None:
    image = folder / "tiny.pimc"
    first = folder / "tiny.r1.report.json"
    assert latest_recovery(image) == first
    note = RecoveryNote(next_image.sha256, "sim:900", "selective", 2, 1)
    second = next_image.with_recovery(note)
    second.save(folder / "tiny.r2.pimc")
    path = folder / "tiny.r2.report.json"
    path.write_text(json.dumps({**told, "sha256": second.sha256}))
    os.utime(first, (1, 1))
    assert latest_recovery(image) == path
    assert latest_recovery(folder / "tiny.r1.pimc") == path
    os.utime(path, (0, 0))
    assert latest_recovery(image) == first
    assert latest_recovery(folder / "tiny.r1.pimc") == path
    assert latest_recovery(folder / "tiny.r2.pimc") is None
    assert latest_recovery(folder / "nowhere" / "nowhere.pimc") is None
    other = tiny_image.with_options(packing="else")
    other.save(folder / "other.pimc")
    assert latest_recovery(folder / "other.pimc") is None


PROJECT = 'image = "tiny.pimc"\ncalib = "data"\ndata = "data"\nseed = 900\n'


@pytest.fixture
def project(here: Path, tiny_image: Image, tiny_inputs: Any) -> Path:
    """A project with an image and data."""
    tiny_image.save("tiny.pimc")
    Path("data").mkdir()
    for name in ("calib", "test"):
        np.savez(f"data/{name}.npz", x=tiny_inputs, y=np.arange(len(tiny_inputs)) % 4)
    Path("pimc.toml").write_text(PROJECT + "[recover]\nrounds = 1\nepochs = 0\n")
    return here


def test_a_project_without_an_image_says_what_is_missing(pimc: Any, here: Path) -> None:
    Path("pimc.toml").write_text('image = "out/tiny.pimc"\n')
    done = pimc("report")
    assert (done.code, done.out) == (2, "")
    assert "out/tiny.pimc: no such file" in done.err


def test_a_project_shows_its_image_with_the_latest_recovery(pimc: Any, project: Path) -> None:
    done = pimc("report", "--json")
    assert [one["what"] for one in done.json["chapters"]] == ["image"]
    assert done.json["title"] == "tiny.pimc"
    assert pimc("recover", "--dies", "1").code == 0
    report = json.loads(Path("tiny.r1.report.json").read_text())
    assert report["command_line"] == "pimc recover --dies 1"
    done = pimc("report", "--json")
    assert [one["title"] for one in done.json["chapters"]] == [
        "tiny.r1.report.json", "tiny.pimc", "tiny.r1.pimc",
    ]  # fmt: skip
    assert done.json["title"] == "tiny.pimc and its latest recovery"
    assert "pimc recover --dies 1" in Path("report.html").read_text(encoding="utf-8")
    # What is named is shown, and nothing else.
    done = pimc("report", "tiny.pimc", "--json")
    assert [one["what"] for one in done.json["chapters"]] == ["image"]
    # The table of many dies is the latest recovery, too.
    assert pimc("recover", "--dies", "2").code == 0
    done = pimc("report", "--json")
    assert [one["what"] for one in done.json["chapters"]] == ["recoveries", "image"]
