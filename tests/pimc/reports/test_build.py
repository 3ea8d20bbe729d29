"""A page holds what it is asked for, in chapters that know of each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pimc
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.reports import build
from pimc.reports.blocks import Maps, Part
from pimc.reports.page import Page


def block(part: Part, title: str) -> Any:
    (found,) = [one for one in (*part.brief, *part.blocks) if one.title == title]
    return found


def chapters(page: Page) -> list[tuple[str, str]]:
    return [(part.what, part.title) for part in page.parts]


def test_a_recovery_brings_the_images_that_lie_beside_it(folder: Path) -> None:
    page = pimc.report(folder / "tiny.r1.report.json")
    assert chapters(page) == [
        ("recovery", "tiny.r1.report.json"), ("image", "tiny.pimc"), ("image", "tiny.r1.pimc"),
    ]  # fmt: skip


def test_of_an_image_that_is_another_one_nothing_is_shown_beside(folder: Path) -> None:
    Image.load(folder / "tiny.pimc").with_options(packing="else").save(folder / "tiny.r1.pimc")
    page = pimc.report(folder / "tiny.r1.report.json")
    assert chapters(page) == [("recovery", "tiny.r1.report.json")]


def test_cells_that_a_recovery_rewrote_are_marked_and_counted(folder: Path) -> None:
    page = pimc.report(folder / "tiny.pimc", folder / "tiny.r1.pimc")
    first, second = (block(part, "Where weights sit") for part in page.parts)
    assert isinstance(second, Maps)
    assert (first.has_rewritten, second.has_rewritten) == (False, True)
    facts = dict(block(page.parts[1], "What the recovery changed").told)
    assert facts["Cells with another level"].startswith("2 in ")


def test_a_die_tells_of_the_layers_of_the_image_that_it_holds(
    folder: Path, tiny_image: Image
) -> None:
    page = pimc.report(folder / "chip.die", folder / "tiny.pimc")
    table = block(page.parts[0], "Layers on this die")
    assert [row[0].text for row in table.rows] == [layer.name for layer in tiny_image.layers]
    assert sum(row[1].order for row in table.rows) == tiny_image.used.sum()
    alone = pimc.report(folder / "chip.die")
    assert all(one.title != "Layers on this die" for one in alone.parts[0].blocks)


def test_what_is_named_twice_is_shown_once(folder: Path, tiny_image: Image) -> None:
    page = pimc.report(folder / "tiny.r1.report.json", folder / "tiny.pimc", folder)
    assert [what for what, _ in chapters(page)] == ["recovery", "image", "image", "die"]
    page = pimc.report(tiny_image, tiny_image, tiny_image.with_options(packing="else"))
    assert len(page.parts) == 2


def test_a_folder_is_all_that_lies_in_it(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing of pimc's")
    page = pimc.report(folder)
    assert chapters(page) == [
        ("recovery", "tiny.r1.report.json"), ("image", "tiny.pimc"), ("image", "tiny.r1.pimc"),
        ("die", "chip.die"),
    ]  # fmt: skip
    assert page.title == folder.name


def test_of_many_files_a_folder_shows_the_first_and_says_so(
    folder: Path, tiny_image: Image
) -> None:
    for number in range(7):
        tiny_image.save(folder / f"copy{number}.pimc")
    page = pimc.report(folder)
    assert sum(part.what == "image" for part in page.parts) == 6
    assert "Of 9 files of the kind “image” the first 6 are shown." in page.html


def test_figures_have_intervals_where_samples_are_known(folder: Path, told: Any) -> None:
    path = folder / "tiny.r1.report.json"
    dots = block(pimc.report(path).parts[0], "Accuracy by die, before and after recovery")
    ((_, marks),) = dots.rows
    assert [mark.text for mark in marks] == ["50.00 %", "90.00 %"]
    assert all(mark.low < mark.at < mark.high for mark in marks)
    assert dots.lines[0][1] == "float 95.00 %"
    path.write_text(json.dumps({**told, "samples": None}))
    dots = block(pimc.report(path).parts[0], "Accuracy by die, before and after recovery")
    assert all(mark.low is None for mark in dots.rows[0][1])
    assert "not noted" in dots.note


def test_the_same_input_gives_the_same_bytes(folder: Path) -> None:
    one, two = (pimc.report(folder, output=folder.parent / name) for name in ("a.html", "b.html"))
    assert one.html == two.html
    assert (folder.parent / "a.html").read_bytes() == (folder.parent / "b.html").read_bytes()


def test_a_page_beyond_its_size_does_without_pictures_and_is_refused_at_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pimc.report(folder / "tiny.pimc")
    monkeypatch.setattr(build, "MOST_BYTES", len(whole.html.encode()) - 1)
    less = pimc.report(folder / "tiny.pimc")
    assert "drawn without the levels" in less.html
    monkeypatch.setattr(build, "MOST_BYTES", 1000)
    with pytest.raises(UsageError, match="the page would take"):
        pimc.report(folder / "tiny.pimc")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"sha256": 1, "stages": 5}', "is not what pimc writes"),
        ('{"sha256": "", "stages": [{"layer_errors": 5}]}', "is not what pimc writes"),
        ('{"outcomes": []}', "is not what pimc writes"),
        ('{"outcomes": [{"strategy": 5}]}', "is not what pimc writes"),
        ('{"accuracy_mean": "x", "accuracy_per_die": 4}', "is not what pimc writes"),
        ("no file of ours", "this is nothing that a report shows"),
    ],
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        pimc.report(path)


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        pimc.report(tmp_path / "nowhere.pimc")
    with pytest.raises(UsageError, match="holds nothing that a report shows"):
        pimc.report(tmp_path)
    with pytest.raises(UsageError, match="nothing was named"):
        pimc.report()
    with pytest.raises(UsageError, match="shows no int"):
        pimc.report(5)  # type: ignore[arg-type]
