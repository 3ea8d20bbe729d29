"""Which dies ``pimc recover`` brings back, and captures in the calibration folder."""

from __future__ import annotations

import json
from pathlib import Path

from pimc.files.writing.atomic import sha256_file
from pimc.runtime.die.die import Die
from tests.pimc.cli.recovering.quick import QUICK, names, write_capture


def test_several_dies(pimc, job) -> None:
    done = pimc("recover", "--calib", "data", "--data", "data", "--dies", 2, "--seed", 3,
                *QUICK, "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert [entry["die"] for entry in done.json["dies"]] == ["sim:3", "sim:4"]
    assert len(done.json["accuracy_before"]) == len(done.json["accuracy_after"]) == 2
    for entry, after in zip(done.json["dies"], done.json["accuracy_after"], strict=True):
        found = pimc(
            "eval", entry["output"], "--data", "data", "--die", entry["die_file"], "--json"
        )
        assert found.json["accuracy_per_die"] == [after]
    assert done.json["dies"][0]["output"] != done.json["dies"][1]["output"]


def test_a_die_drawn_for_the_purpose_is_kept(pimc, job) -> None:
    done = pimc("recover", "--calib", "data", "--data", "data", "--seed", 5, *QUICK, "--json")
    assert done.code == 0, done.err
    die = Path(done.json["dies"][0]["die_file"])
    assert Die.load(die).seed == 5
    found = pimc("eval", "tiny.r1.pimc", "--data", "data", "--die", die, "--json")
    assert found.json["accuracy_per_die"] == done.json["accuracy_after"]


def test_with_a_capture_and_no_die_writes_are_proposed(pimc, job, noisy) -> None:
    write_capture(noisy, job / "data" / "bench.pimccap")
    before = sha256_file("chip.die")
    done = pimc("recover", "--calib", "data", "--data", "data", *QUICK)
    assert done.code == 0, done.err
    assert "program the cells, capture again" in done.out
    end = done.out.splitlines()[-2:]
    assert end[0].startswith("result: ")
    assert end[1] == "next: write the cells with `pimc program tiny.r1.pimc` and capture again"
    assert names(job) == [
        "chip.die", "data", "tiny.onnx", "tiny.pimc",
        "tiny.r1.cells.csv", "tiny.r1.pimc", "tiny.r1.report.json",
    ]  # fmt: skip
    report = json.loads(Path("tiny.r1.report.json").read_text())
    assert report["measured_on_chip"] is False
    assert (report["die"], report["die_file"], report["rounds"]) == ("sim:7", None, 1)
    assert sha256_file("chip.die") == before

    # Programming the next image writes just the cells of the list.
    test = ("--data", "data", "--die", "chip.die", "--json")
    was = pimc("eval", "tiny.pimc", *test).json["accuracy_mean"]
    written = pimc("program", "tiny.r1.pimc", "--die", "chip.die", "--json").json["cells_written"]
    assert written == report["cells_rewritten"] > 0
    assert pimc("eval", "tiny.r1.pimc", *test).json["accuracy_mean"] > was


NOTHING = ("--rounds", 0, "--epochs", 0, "--json")
LEFT_OUT = "data/old.pimccap was taken of another image, and is left out"


def test_captures_of_other_images_are_passed_over_with_a_note(pimc, job, noisy) -> None:
    other = noisy.updated(levels=15 - noisy.levels)
    write_capture(noisy, job / "data" / "bench.pimccap")
    write_capture(other, job / "data" / "old.pimccap")
    done = pimc("recover", "--calib", "data", *NOTHING)
    assert done.code == 0, done.err
    assert done.json["dies"][0]["die"] == "sim:7"
    assert done.json["notes"] == [LEFT_OUT]
    assert f"note: {LEFT_OUT}" in done.err


def test_a_foreign_capture_is_no_matter_where_a_die_is_named(pimc, job, noisy) -> None:
    write_capture(noisy.updated(levels=15 - noisy.levels), job / "data" / "old.pimccap")
    done = pimc("recover", "--calib", "data", "--die", "chip.die", *NOTHING)
    assert (done.code, done.json["notes"]) == (0, [LEFT_OUT])
    assert done.json["dies"][0]["measured_on_chip"] is True
    done = pimc("recover", "tiny.pimc", "--calib", "data", "--dies", 1, *NOTHING)
    assert (done.code, done.json["notes"]) == (0, [LEFT_OUT])


def test_a_capture_of_another_die_than_the_named_one_is_refused(pimc, job, noisy) -> None:
    write_capture(noisy, job / "data" / "bench.pimccap", seed=8)
    before = sha256_file("chip.die")
    done = pimc("recover", "--calib", "data", "--die", "chip.die", *NOTHING)
    assert done.code == 2
    assert "data/bench.pimccap: this capture was taken of die sim:8, and sim:7 is to be" in done.err
    assert sha256_file("chip.die") == before
    assert not Path("tiny.r1.pimc").exists()


def test_a_capture_is_left_out_where_dies_are_drawn(pimc, job, noisy) -> None:
    write_capture(noisy, job / "data" / "bench.pimccap")
    done = pimc("recover", "--calib", "data", "--dies", 1, "--seed", 7, *NOTHING)
    left_out = "data/bench.pimccap is left out: --dies draws dies of its own"
    assert (done.code, done.json["notes"]) == (0, [left_out])


def test_a_damaged_capture_is_never_passed_over(pimc, job, noisy) -> None:
    write_capture(noisy, job / "data" / "bench.pimccap")
    whole = (job / "data" / "bench.pimccap").read_bytes()
    (job / "data" / "cut.pimccap").write_bytes(whole[: len(whole) // 2])
    done = pimc("recover", "--calib", "data", *NOTHING)
    assert (done.code, "cut.pimccap" in done.err) == (2, True)


def test_a_folder_with_only_a_foreign_capture_is_refused(pimc, job, noisy) -> None:
    write_capture(noisy.updated(levels=15 - noisy.levels), job / "data" / "old.pimccap")
    done = pimc("recover", "--calib", "data", *QUICK)
    assert done.code == 2
    assert "another image" in done.err
    assert "old.pimccap" in done.err


def test_two_captures_of_the_image_are_a_question(pimc, job, noisy) -> None:
    write_capture(noisy, job / "data" / "a.pimccap", seed=1)
    write_capture(noisy, job / "data" / "b.pimccap", seed=2)
    done = pimc("recover", "--calib", "data", *QUICK)
    assert done.code == 2
    assert "a.pimccap, b.pimccap" in done.err
