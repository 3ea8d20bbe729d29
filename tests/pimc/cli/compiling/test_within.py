"""``pimc compile --max-drop``."""

from __future__ import annotations

import sys

import pytest

from pimc.image.image import Image
from tests.pimc.tasks.test_find import OWN

COMPILE = ("compile", "tiny.onnx", "--array", "16x8", "--levels", "3", "--calib", "calib.npz")


def test_a_drop_that_holds(pimc, model) -> None:
    done = pimc(*COMPILE, "--max-drop", "30", "--try", "offset", "--try", "sliced:2", "--json")
    assert done.code == 0
    told = done.json["within"]
    assert told["ok"]
    assert told["max_drop"] == 0.3
    assert told["drop"] <= 0.3
    assert told["limit"] is None
    image = Image.load("tiny.pimc")
    assert [layer["name"] for layer in told["layers"]] == ["w1", "w2", "w3"]
    assert image.options["mapping"] == {e["name"]: e["mapping"] for e in told["layers"]}
    assert [e["mapping"] for e in done.json["layers"]] == [e["mapping"] for e in told["layers"]]
    assert sum(e["cells"] for e in told["layers"]) == done.json["cells_used"]
    (taken,) = [p for p in told["front"] if p["cells"] == done.json["cells_used"]]
    assert (taken["accuracy_mean"], taken["drop"]) == (told["accuracy_mean"], told["drop"])
    cells = [point["cells"] for point in told["front"]]
    assert cells == sorted(cells)
    assert [o["mapping"] for o in told["layers"][0]["offers"]] == ["offset", "sliced:2"]
    assert done.json["calibration"]["samples"] == 2 * told["samples"] - told["samples"]


def test_what_was_chosen_is_drawn_and_told(pimc, model) -> None:
    options = ("--try", "offset", "--try", "digital", "--try-range", "percentile:100")
    done = pimc(
        *COMPILE, "--max-drop", "30", *options, "--minimize", "energy", "--digital-price", "90",
        "--drop-dies", "1", "--for", "as-programmed", "--front", "front.png", "--json",
    )  # fmt: skip
    assert done.code in (0, 1), done.err
    told = done.json["within"]
    assert told["minimize"] == "energy"
    assert told["digital_price"] == 90
    assert told["picture"] == "front.png"
    assert (model / "front.png").read_bytes().startswith(b"\x89PNG")
    assert told["state"] in ("perfect cells", "dies as programmed")
    offered = {(o["mapping"], o["adc_range"]) for o in told["layers"][0]["offers"]}
    assert offered == {("offset", None), ("offset", "percentile:100"), ("digital", None)}
    costs = [point["cost"] for point in told["front"]]
    assert costs == sorted(costs)
    assert all(o["damage"] == o["damage_reading"] + o["damage_writing"]
               for o in told["layers"][0]["offers"])  # fmt: skip


def test_a_drop_of_recovered_dies(pimc, model) -> None:
    done = pimc(
        *COMPILE, "--max-drop", "90", "--try", "differential", "--drop-dies", "2", "--seed", "900",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "2 recovered dies" in done.out


def test_a_drop_of_a_task_of_ones_own(pimc, model) -> None:
    (model / "own_tasks.py").write_text(OWN)
    try:
        done = pimc(*COMPILE, "--max-drop", "9", "--task", "own_tasks:Largest", "--json")
    finally:
        sys.modules.pop("own_tasks", None)
    assert done.code == 0, done.err
    told = done.json["within"]
    assert (told["task"], told["metric"], told["ok"]) == ("largest", "largest value", True)


def test_a_drop_that_does_not_hold_is_said_and_the_best_is_written(pimc, model) -> None:
    done = pimc(*COMPILE, "--max-drop", "0", "--try", "offset", "--levels", "2")
    assert done.code == 1
    assert "NOT kept; this is the best that was found" in done.out
    assert "limited by" in done.out
    assert Image.load("tiny.pimc").options["mapping"].keys() == {"w1", "w2", "w3"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-drop", "1"], "give --calib"),
        (["--max-drop", "1", "--calib", "calib.npz", "--harden"], "does not go with --harden"),
        (["--max-drop", "1", "--calib", "calib.npz", "--no-teacher"], "--no-teacher"),
        (["--max-drop", "1", "--calib", "calib.npz", "--dump-dir", "d"], "--dump-dir"),
        (["--drop-dies", "2"], "--drop-dies given without --max-drop"),
        (["--try", "offset"], "--try given without --max-drop"),
        (["--minimize", "energy"], "--minimize given without --max-drop"),
        (["--front", "f.png"], "--front given without --max-drop"),
        (["--max-drop", "1", "--calib", "calib.npz", "--try-range", "odd"], "is not understood"),
        (["--max-drop", "1", "--calib", "calib.npz", "--try", "odd"], "is not one of offset"),
    ],
)
def test_options_that_do_not_go_together(pimc, model, options, message) -> None:
    done = pimc("compile", "tiny.onnx", *options)
    assert done.code == 2
    assert message in done.err
    assert not (model / "tiny.pimc").exists()
