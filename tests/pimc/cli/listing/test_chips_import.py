"""``pimc chips import``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.chip.design import Chip
from tests.pimc.chip.measurements import samples


def test_import_writes_chip_and_picture(pimc, here: Path) -> None:
    _, drawn = samples(here)
    done = pimc("chips", "import", "measured.csv", "-o", "mine.toml", "--json")
    assert done.code == 0, done.err
    assert (done.json["output"], done.json["picture"]) == ("mine.toml", "mine.png")
    sigmas = [level["sigma_us"] for level in done.json["levels"]]
    assert sigmas == pytest.approx(drawn.std(axis=1, ddof=1))
    assert [level["samples"] for level in done.json["levels"]] == [300] * 4
    assert (here / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert Chip.load("mine.toml").name == "mine"
    first = (here / "mine.png").read_bytes(), (here / "mine.toml").read_bytes()
    # Same data, same bytes; the file's name is the default.
    shown = pimc("chips", "import", "measured.csv", "--name", "mine")
    assert shown.code == 0
    assert "4, 2.459 to 38.47 µS" in shown.out
    assert ((here / "measured.png").read_bytes(), (here / "measured.toml").read_bytes()) == first
    assert "measured: 1,200 samples" in pimc("chips", "mine.toml").out
    done = pimc("chips", "import", "measured.csv", "--picture", "fit.svg", "--json")
    assert done.json["picture"] == "fit.svg"
    assert "<svg" in (here / "fit.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bad.csv"], "bad.csv: level 1 is missing"),
        (["none.csv"], "none.csv: cannot be read"),
        (["measured.csv", "-o", "x.png"], "x.png: a chip file is called .toml"),
        (["measured.csv", "--picture", "x.pdf"], "x.pdf: a picture is called .png or .svg"),
        (["measured.csv", "-o", "no/x.toml"], "no: there is no such folder"),
        (["high.csv"], "high: cell.g_max_us: must be a number above 0, at most 1000000"),
        (["measured.csv", "--name", " "], "name: must not be empty"),
        ([], "Missing argument"),
    ],
)
def test_import_leaves_nothing_behind(pimc, here: Path, arguments, message: str) -> None:
    samples(here)
    (here / "bad.csv").write_text("level,g_us\n0,1\n0,2\n2,5\n2,6\n")
    (here / "high.csv").write_text("level,mean_us,sigma_us\n0,1,1\n1,2e6,1\n")
    done = pimc("chips", "import", *arguments)
    assert done.code == 2
    assert message in done.err
    assert sorted(entry.name for entry in here.iterdir()) == [
        "bad.csv",
        "high.csv",
        "measured.csv",
    ]


def test_a_picture_that_cannot_be_written_leaves_no_chip(pimc, here: Path) -> None:
    samples(here)
    (here / "m.png").mkdir()
    done = pimc("chips", "import", "measured.csv", "-o", "m.toml")
    assert done.code == 2
    assert "m.png: is not a regular file" in done.err
    assert not (here / "m.toml").exists()
