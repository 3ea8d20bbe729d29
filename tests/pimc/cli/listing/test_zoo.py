"""``pimc zoo``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pimc.image.image import Image
from pimc.zoo.record import names, network


def test_list(pimc) -> None:
    shown = pimc("zoo", "list")
    assert all(name in shown.out for name in names())
    assert pimc("zoo").out == shown.out
    listed = pimc("zoo", "--json").json["networks"]
    assert [one["name"] for one in listed] == list(names())
    assert all(one["licence"] for one in listed)


def test_markdown_is_the_page(pimc) -> None:
    page = (Path(__file__).parents[4] / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert pimc("zoo", "list", "--markdown").out.strip() in page


def test_get(pimc, here: Path) -> None:
    found = pimc("zoo", "get", "fashion-resnet8", "--folder", "zoo", "--json").json
    assert found["made"]
    assert {"model.onnx", "calib.npz", "test.npz", "chip.toml"} <= set(found["files"])
    assert "was there" in pimc("zoo", "get", "fashion-resnet8", "--folder", "zoo").out
    assert pimc("zoo", "get", "fashion-resnet8", "--folder", "zoo", "--force", "--json").json[
        "made"
    ]


def test_run(pimc, here: Path) -> None:
    arguments = ("--folder", "zoo", "--dies", "0", "--limit", "40", "--calib-limit", "16")
    found = pimc("zoo", "run", "fashion-resnet8", *arguments, "--json").json
    assert found["network"] == "fashion-resnet8"
    assert (found["metric"], found["samples"], found["calib"]) == ("accuracy", 40, 16)
    assert found["in_float"] > 0.8
    assert found["record"] is None
    assert Path(found["folder"], "model.pimc").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "fashion"), "did you mean fashion-resnet8"),
        (("run", "no-such-network"), "no such network"),
        (("run", "fashion-resnet8", "--update", "--limit", "5"), "leave --limit"),
        (("get", "../secret"), "no such network"),
        (("run", "fashion-resnet8", "--dies", "-1"), "-1"),
        (("find",), "No such command"),
    ],
)
def test_bad_input(pimc, here: Path, arguments, message: str) -> None:
    done = pimc("zoo", *arguments)
    assert done.code == 2
    assert message in done.err


def test_update_writes_into_the_record(pimc, here: Path, monkeypatch) -> None:
    from pimc.zoo import record
    from pimc.zoo import run as running

    source = record._folder() / "fashion-resnet8.toml"
    copied = here / "networks"
    copied.mkdir()
    head = source.read_text().partition("\n[measured]")[0]
    (copied / source.name).write_text(head + "\n")
    monkeypatch.setattr(record, "_folder", lambda: copied)
    small = running.Limits(calib=16, samples=40)
    monkeypatch.setattr(running, "Limits", lambda *_: small)
    found = pimc("zoo", "run", "fashion-resnet8", "--folder", "zoo", "--dies", "0", "--update",
                 "--json").json  # fmt: skip
    assert found["record"] == str(copied / source.name)
    measured = network("fashion-resnet8").measured
    assert measured is not None
    assert measured.samples == 40
    assert measured.in_float == pytest.approx(found["in_float"], rel=1e-5)


#: What is added to lines to type, so that they take seconds.
SMALL = {
    "zoo run": "--dies 0 --limit 40 --calib-limit 16", "eval": "--limit 40",
    "recover": "--strategy none",
}  # fmt: skip


def typed(page: Path) -> list[str]:
    return re.findall(r"^    pimc (.+?)(?: +#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE)


def run_all(pimc, lines: list[str]) -> None:
    for line in lines:
        more = next((words for begin, words in SMALL.items() if line.startswith(begin)), "")
        done = pimc(*shlex.split(f"{line} {more}"))
        assert done.code == 0, f"{line}: {done.err}"


def test_the_lines_of_the_page_run(pimc, here: Path) -> None:
    lines = typed(Path(__file__).parents[4] / "docs" / "zoo.md")
    assert len(lines) == 3
    run_all(pimc, lines)


def test_the_lines_of_the_folder_run(pimc, here: Path, monkeypatch) -> None:
    found = pimc("zoo", "get", "fashion-resnet8", "--folder", ".", "--json").json
    monkeypatch.chdir(found["folder"])
    lines = typed(Path("README.md"))
    assert lines == ["compile", "recover", "eval", "report"]
    run_all(pimc, lines)
    chapters = pimc("report", "--json").json["chapters"]
    assert [one["what"] for one in chapters] == ["recovery", "image", "image"]


def test_a_chip_that_was_changed_is_used_and_not_recorded(pimc, here: Path) -> None:
    run = ("zoo", "run", "fashion-resnet8", "--folder", "zoo", "--dies", "0")
    small = ("--limit", "40", "--calib-limit", "16")
    folder = Path(pimc("zoo", "get", "fashion-resnet8", "--folder", "zoo", "--json").json["folder"])
    chip = (folder / "chip.toml").read_text()
    changed = re.sub(r"(?m)^rows = \d+", "rows = 64", chip)
    assert changed != chip
    (folder / "chip.toml").write_text(changed)
    done = pimc(*run, *small)
    assert "chip.toml was edited and is used as it is" in done.err
    assert "chip.toml of the folder, as edited" in done.out
    assert Image.load(folder / "model.pimc").chip.array.rows == 64
    done = pimc(*run, "--update")
    assert done.code == 2
    assert "was edited; the record holds figures of generic-128" in done.err
    assert (folder / "chip.toml").read_text() == changed
