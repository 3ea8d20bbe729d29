"""``pimc recover`` of several dies: shared out, a row each, and what they say together."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.cli.recovering.named import expanded, places_of
from pimc.files.writing.atomic import sha256_file
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.recoveries.summary import reached, summary_of
from pimc.tasks.classification import CLASSIFICATION
from tests.pimc.cli.recovering.quick import QUICK, names

DIES = ("recover", "tiny.pimc", "--calib", "data", "--data", "data", "--seed", 900, *QUICK)


def rows(path: str = "tiny.r1.dies.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def made(folder: Path) -> dict[str, str]:
    """What came of the dies, but for what a clock says."""
    return {
        name: sha256_file(folder / name)
        for name in names(folder)
        if ".r1." in name and not name.endswith(".report.json")
    }


def cleared(folder: Path) -> None:
    for name in names(folder):
        if ".r1." in name:
            (folder / name).unlink()


def test_two_workers_give_what_one_gives_byte_for_byte(pimc, job) -> None:
    alone = pimc(*DIES, "--dies", 4, "--json")
    assert alone.code == 0, alone.err
    expected = made(job)
    cleared(job)
    shared = pimc(*DIES, "--dies", 4, "--jobs", 2, "--json")
    assert shared.code == 0, shared.err
    assert made(job) == expected
    assert {"tiny.r1.dies.csv", "tiny.r1.dies.png", "tiny.r1.die903.pimc"} <= expected.keys()
    assert shared.json["summary"] == alone.json["summary"]
    found = rows()
    assert [row["die"] for row in found] == ["sim:900", "sim:901", "sim:902", "sim:903"]
    for row, entry in zip(found, shared.json["dies"], strict=True):
        assert float(row["accuracy_after"]) == entry["accuracy_after"]
        assert Image.load(row["output"]).sha256 == row["image_sha256"] == entry["sha256"]
        report = json.loads(Path(entry["output"]).with_suffix(".report.json").read_text())
        assert report.items() <= entry.items()
    after = [float(row["accuracy_after"]) for row in found]
    before = [float(row["accuracy_before"]) for row in found]
    told = alone.json["summary"]["metric"]
    assert told["after"]["mean"] == pytest.approx(np.mean(after))
    assert told["after"]["std"] == pytest.approx(np.std(after, ddof=1))
    low, high = told["after"]["interval_95"]
    assert low < np.mean(after) < high
    assert told["gained"]["mean"] == pytest.approx(np.mean(after) - np.mean(before))


def test_a_run_that_was_cut_goes_on_to_the_same_table(pimc, job, monkeypatch) -> None:
    from pimc.passes.recover.steps import training as steps

    assert pimc(*DIES, "--dies", 3).code == 0
    expected = made(job)
    cleared(job)
    counts: list[int] = []
    distill = vars(steps)["distill"]

    def second_cut(*given: Any, **options: Any) -> None:
        counts.append(1)
        if len(counts) == 2:
            raise KeyboardInterrupt
        distill(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "distill", second_cut)
        done = pimc(*DIES, "--dies", 3)
        assert (done.code, "go on with --resume" in done.err) == (130, True)
        assert not Path("tiny.r1.dies.csv").exists()
        done = pimc(*DIES, "--dies", 3)
        assert (done.code, "add --resume" in done.err) == (2, True)
        done = pimc(*DIES, "--dies", 3, "--resume", "--json")
    assert done.code == 0, done.err
    assert (len(counts), done.json["recovered"]) == (4, 2)
    assert made(job) == expected


def test_what_stands_is_not_done_again_and_more_dies_come_to_it(pimc, job, monkeypatch) -> None:
    assert pimc(*DIES, "--dies", 3, "--table", "all.parquet").code == 0
    whole = sha256_file("all.parquet")
    cleared(job)
    assert pimc(*DIES, "--dies", 2, "--table", "t.parquet").code == 0
    done = pimc(*DIES, "--dies", 3, "--table", "t.parquet", "--resume", "--json")
    assert (done.code, done.json["recovered"]) == (0, 1)
    assert sha256_file("t.parquet") == whole
    # A next image that is gone is made again, one of other options is not taken for it.
    Path("tiny.r1.die901.pimc").unlink()
    done = pimc(*DIES, "--dies", 3, "--table", "t.parquet", "--resume", "--json")
    assert (done.code, done.json["recovered"]) == (0, 1)
    assert sha256_file("t.parquet") == whole
    done = pimc(*DIES, "--dies", 3, "--table", "t.parquet", "--resume", "--budget", 5)
    assert (done.code, "other options" in done.err) == (2, True)
    assert sha256_file("t.parquet") == whole


@pytest.fixture
def wafer(job, noisy) -> list[str]:
    """Four dies in files: two that hold the image, one that is damaged, one that is unwritten."""
    Path("wafer").mkdir()
    for seed in (1, 2, 3):
        die = Die.simulated(seed)
        Session(noisy, die=die)
        die.save(f"wafer/w{seed}.die")
    content = Path("wafer/w2.die").read_bytes()
    Path("wafer/w2.die").write_bytes(content[: len(content) // 2])
    blank = Die.simulated(4)
    blank.attach(noisy.chip, noisy.arrays)
    blank.save("wafer/w4.die")
    return [f"wafer/w{seed}.die" for seed in (1, 2, 3, 4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_die_that_fails_has_a_row_that_says_why(pimc, job, wafer, jobs) -> None:
    damaged = sha256_file("wafer/w2.die")
    blank = sha256_file("wafer/w4.die")
    done = pimc("recover", "tiny.pimc", "--calib", "data", "--data", "data", *QUICK,
                "--die", "wafer/*.die", "--jobs", jobs, "--json")  # fmt: skip
    assert done.code == 3
    found = rows()
    assert [row["source"] for row in found] == wafer
    assert [row["exit_code"] for row in found] == ["0", "3", "0", "2"]
    assert "wafer/w2.die" in found[1]["error"]
    assert "do not hold this image" in found[3]["error"]
    assert done.json["failed"].keys() == {"wafer/w2.die", "wafer/w4.die"}
    assert done.json["accuracy_after"][1] is None
    assert "error: die wafer/w2.die" in done.err
    assert (sha256_file("wafer/w2.die"), sha256_file("wafer/w4.die")) == (damaged, blank)
    assert not [name for name in names(job) if name.endswith(".recovery")]
    for row in (found[0], found[2]):
        test = ("--data", "data", "--die", row["source"], "--json")
        accuracy = pimc("eval", row["output"], *test).json["accuracy_mean"]
        assert accuracy == float(row["accuracy_after"])
    assert found[0]["output"] == "tiny.r1.w1.pimc"

    # Mended, they are all that is left to do.
    for seed in (2, 4):
        die = Die.simulated(seed)
        Session(Image.load("tiny.pimc"), die=die)
        die.save(f"wafer/w{seed}.die")
    Path("dies.txt").write_text("# one a line\nwafer/w1.die\nwafer/w[234].die\n")
    done = pimc("recover", "tiny.pimc", "--calib", "data", "--data", "data", *QUICK,
                "--die", "@dies.txt", "--resume", "--json")  # fmt: skip
    assert (done.code, done.json["recovered"]) == (0, 2), done.err
    assert [row["error"] for row in rows()] == [""] * 4


def test_the_share_within_a_target_and_where_dies_lie(pimc, job) -> None:
    Path("map.csv").write_text("die,x,y\nsim:900,0,0\n901,1,0\nsim:902,0,1\nsim:77,5,5\n")
    many = (*DIES, "--dies", 3, "--map", "map.csv")
    done = pimc(*many, "--max-drop", 30, "--json")
    assert done.code == 0, done.err
    within = done.json["summary"]["within"]
    limit = done.json["float_accuracy"] - 0.3
    for when in ("before", "after"):
        good = sum(value >= limit for value in done.json[f"accuracy_{when}"])
        assert (within[when]["dies"], within[when]["of"]) == (good, 3)
    assert within["after"]["dies"] > within["before"]["dies"]
    places = [(float(row["x"]), float(row["y"])) for row in rows()]
    assert places == [(0, 0), (1, 0), (0, 1)]
    assert done.json["pictures"] == ["tiny.r1.dies.png", "tiny.r1.dies.wafer.png"]
    for path in done.json["pictures"]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    done = pimc(*many, "--max-drop", 30, "--resume", "--picture", "p.svg", "--json")
    assert done.json["pictures"] == ["p.svg", "p.wafer.svg"]
    for path in done.json["pictures"]:
        assert "<svg" in Path(path).read_text()
        Path(path).unlink()
    first = made(job)
    done = pimc(*many, "--target", 99.99, "--min-yield", 100, "--resume")
    assert (done.code, "NOT reached" in done.out) == (1, True)
    done = pimc(*many, "--max-drop", 30, "--resume")
    assert done.code == 0
    assert made(job) == first


def test_a_table_of_other_dies_is_not_written_over(pimc, job, wafer) -> None:
    """Dies in files hold their next image by now: their rows cannot be made again."""
    recover = ("recover", "tiny.pimc", "--calib", "data", *QUICK)
    first_lot = (*recover, "--die", "wafer/w1.die", "--die", "wafer/w4.die")
    assert pimc(*first_lot).code == 2  # the blank one fails
    first = rows()
    for seed in (5, 6):
        die = Die.simulated(seed)
        Session(Image.load("tiny.pimc"), die=die)
        die.save(f"wafer/w{seed}.die")
    lot = (*recover, "--die", "wafer/w5.die", "--die", "wafer/w6.die")
    done = pimc(*lot)
    assert (
        done.code,
        "tiny.r1.dies.csv: holds 1 recovered dies of --die that are not" in done.err,
    ) == (2, True), done.err
    assert rows() == first
    assert pimc(*lot, "--resume").code == 0
    assert [row["source"] for row in rows()] == [
        "wafer/w1.die", "wafer/w4.die", "wafer/w5.die", "wafer/w6.die",
    ]  # fmt: skip


def test_one_file_by_two_names_is_one_die(pimc, job, wafer) -> None:
    Path("same.die").symlink_to("wafer/w1.die")
    before = sha256_file("wafer/w1.die")
    for other in ("same.die", "wafer/../wafer/w1.die"):
        done = pimc("recover", "tiny.pimc", "--calib", "data", *QUICK,
                    "--die", "wafer/w1.die", "--die", other)  # fmt: skip
        assert (done.code, f"{other}: this die is named twice" in done.err) == (2, True), done.err
    assert sha256_file("wafer/w1.die") == before


def test_a_yield_that_is_just_reached_is_reached() -> None:
    """29 of 100 are 28.999999999999996 %, where shares are multiplied."""
    for count in range(101):
        within = {"after": {"dies": count, "of": 100, "share": count / 100}}
        assert reached(within, float(count))
        assert not reached(within, count + 0.5)


def test_lists_and_maps_may_begin_with_a_byte_order_mark(tmp_path) -> None:
    (tmp_path / "dies.txt").write_text("a.die\n", encoding="utf-8-sig")
    (tmp_path / "map.csv").write_text("die,x,y\na,1,2\n", encoding="utf-8-sig")
    found = expanded([Path(f"@{tmp_path / 'dies.txt'}")], files=True)
    assert found == (Path("a.die"),)
    assert places_of(tmp_path / "map.csv", ["a.die"], "sim") == {"a.die": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dies", "2", "--target", "101", "--data", "data"), "--target: 101 is beyond"),
        (("--dies", "2", "--target", "-1", "--data", "data"), "--target: -1 is beyond"),
        (("--jobs", "2"), "--jobs and --cluster: is for several dies"),
        (("--table", "a.csv"), "--table: is for several dies"),
        (("--picture", "a.svg"), "--picture: is for several dies"),
        (("--dies", "2", "--picture", "a.svg"), "--picture: a picture needs labelled data"),
        (("--dies", "2", "--picture", "a.pdf"), "a.pdf: a picture is called .png or .svg"),
        (("--die", "chip.die", "--die", "chip.die"), "chip.die: this die is named twice"),
        (("--die", "none*.die"), "none*.die: no file fits"),
        (("--die", "@none.txt"), "none.txt: cannot be read as a list of dies"),
        (("--dies", "2", "--table", "a.txt"), "a.txt: is neither .csv nor .parquet"),
        (("--dies", "2", "--table", "tiny.pimc.csv", "--resume"), ", not the table of recoveries"),
        (("--dies", "2", "--map", "none.csv"), "none.csv: cannot be read as a map"),
        (("--dies", "2", "--map", "tiny.pimc.csv"), "cannot be read as a map"),
        (
            ("--dies", "2", "--map", "short.csv"),
            "short.csv: cannot be read as a map: 0 has",
        ),
        (("--dies", "2", "--table", "none/a.csv"), "none: there is no such folder"),
        (("-o", "none/a.pimc"), "none: there is no such folder"),
        (("--dies", "2", "--target", "90"), "--target: a target needs labelled data"),
        (("--dies", "2", "--min-yield", "90"), "--min-yield needs a target"),
        (("--dies", "2", "--max-drop", "1", "--target", "90"), "exclude each other"),
        (("--dies", "2", "--compare", "--table", "a.csv"), "--table: is not for a comparison"),
        (("--dies", "2", "--jobs", "2", "--cluster", "tcp://a:1"), "exclude each other"),
    ],
)
def test_what_is_refused_before_any_die_is_touched(pimc, job, arguments, message) -> None:
    Path("tiny.pimc.csv").write_bytes(Path("tiny.pimc").read_bytes())
    Path("short.csv").write_text("die,x,y\n0,1\n")
    before = {name: sha256_file(name) for name in names(job) if name != "data"}
    done = pimc("recover", "tiny.pimc", "--calib", "data", *arguments)
    assert (done.code, message in done.err) == (2, True), done.err
    assert {name: sha256_file(name) for name in names(job) if name != "data"} == before


def test_killed_with_its_workers_it_goes_on_to_the_same_table(pimc, job) -> None:
    assert pimc(*DIES, "--dies", 4).code == 0
    expected = made(job)
    cleared(job)
    words = [str(word) for word in (*DIES, "--dies", 4, "--jobs", 2)]
    process = subprocess.Popen([str(Path(sys.executable).with_name("pimc")), *words])
    journal = Path("tiny.r1.dies.csv.journal")
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not Path("tiny.r1.dies.csv").exists()
    done = pimc(*DIES, "--dies", 4, "--resume", "--json")
    assert done.code == 0, done.err
    assert done.json["recovered"] < 4
    assert made(job) == expected


def test_a_die_whose_figure_before_is_not_known_counts_after() -> None:
    """Cut without labelled data, and gone on with them."""
    known = {"error": "", "samples": 10, "loss_before": 2.0, "loss_after": 1.0}
    known |= {"agreement_before": 0.5, "agreement_after": 0.9}
    rows = [
        {**known, "accuracy_before": 0.9, "accuracy_after": 0.9},
        {**known, "accuracy_before": None, "accuracy_after": 0.2},
    ]
    within = summary_of(rows, CLASSIFICATION.metric, 0.5)["within"]
    assert (within["before"]["dies"], within["before"]["of"]) == (1, 1)
    assert (within["after"]["dies"], within["after"]["of"]) == (1, 2)
    assert not reached(within, 60)
    within = summary_of(rows[1:], CLASSIFICATION.metric, 0.1)["within"]
    assert (within["before"]["of"], within["before"]["share"]) == (0, None)
    assert reached(within, 100)
