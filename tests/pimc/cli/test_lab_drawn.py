"""A laboratory's own simulator behind the commands: its dies are drawn, aged, kept in files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pimc.image.image import Image
from pimc.runtime.capture import Capture
from pimc.runtime.session import Session
from tests.pimc.cli.lab import CAPTURE, EVAL, PROGRAM, QUICK, inputs, rack


@pytest.fixture
def image(noisy_reads: Image) -> Image:
    return noisy_reads


def test_dies_are_drawn_from_seeds_written_and_aged(pimc, image, lab) -> None:
    np.save("x.npy", inputs())
    for age, seconds in (((), 0.0), (("--age", "10d"), 864000.0)):
        done = pimc(*EVAL, "--device", "lab", "--dies", 2, "--seed", 4, *age, "--json")
        assert (done.code, done.json["dies"]) == (0, ["rack:4", "rack:5"])
        done = pimc("run", "--input", "x.npy", "-o", "y.npy", "--device", "lab", *age)
        assert done.code == 0
        device = rack(lab, image)
        device.age(seconds)
        (wanted,) = Session(image, die=device).run(None, {"x": inputs()})
        assert np.array_equal(np.load("y.npy"), wanted)


def test_what_does_not_age_is_refused_an_age(pimc, image, without) -> None:
    without("Ageable", simulates=True)
    assert pimc(*EVAL, "--device", "bare", "--dies", 1).code == 0
    done = pimc(*EVAL, "--device", "bare", "--dies", 1, "--age", "1d")
    assert (done.code, "does not age at will" in done.err) == (2, True)


def test_a_drawn_die_is_kept_in_a_file(pimc, image, lab) -> None:
    done = pimc(*PROGRAM, "--device", "lab")
    assert (done.code, "a simulated die needs a file" in done.err) == (2, True)
    done = pimc(*EVAL, "--device", "lab", "--die", "gone.npz")
    assert (done.code, "no such die file" in done.err) == (3, True)
    done = pimc(*CAPTURE, "--device", "lab", "--die", "gone.npz")
    assert (done.code, "no such file" in done.err) == (2, True)
    assert pimc(*PROGRAM, "--device", "lab", "--die", "a.npz").code == 0
    assert pimc(*EVAL, "--device", "lab", "--die", "a.npz").code == 0


def test_drawn_dies_are_recovered_and_saved(pimc, image, lab) -> None:
    assert pimc(*CAPTURE, "--device", "lab", "--seed", 2).code == 0
    assert Capture.load("tiny.pimccap", image).die == "rack:2"
    done = pimc(*QUICK, "--device", "lab", "--dies", 2, "--json")
    assert done.code == 0
    for number in range(2):
        name = f"tiny.r1.die{number}"
        assert done.json["dies"][number]["die_file"] == f"{name}.die"
        assert done.json["dies"][number]["die"] == f"rack:{number}"
        assert pimc(*EVAL, f"{name}.pimc", "--device", "lab", "--die", f"{name}.die").code == 0


def test_drawn_dies_are_compared_and_explained(pimc, image, lab, without) -> None:
    compare = (*QUICK, "--compare", "--strategy", "none", "--strategy", "affine")
    done = pimc(*compare, "--device", "lab", "--json")
    assert done.code == 0
    assert all(one["reads"] > 0 for one in done.json["outcomes"])
    done = pimc(*EVAL, "--device", "lab", "--dies", 1, "--explain", "--json")
    assert done.code == 0
    assert {cost["name"] for cost in done.json["explain"]["elements"]} >= {"programming"}
    without("CountsReads", simulates=True)
    done = pimc(*compare, "--device", "bare")
    assert done.code == 0
    assert re.search(r"^none .* – +\d+ s$", done.out, re.M)
    outcomes = json.loads(Path("tiny.compare.json").read_text())["outcomes"]
    assert [one["reads"] for one in outcomes] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*EVAL, "--dies", "2"), "--dies draws simulated dies"),
        ((*QUICK, "--dies", "2"), "--dies draws simulated dies"),
        ((*EVAL, "--age", "1d"), "--age is for dies that are drawn"),
        ((*EVAL, "--ir-drop", "exact"), "the simulated chip only"),
        ((*EVAL, "--explain"), "which --device rack does not allow"),
        ((*QUICK, "--compare"), "simulated dies only"),
        (EVAL, "cells do not hold this image"),
        (CAPTURE, "cells do not hold this image"),
    ],
)
def test_a_chip_that_there_is_is_not_drawn(pimc, image, lab, arguments, message) -> None:
    done = pimc(*arguments, "--device", "rack")
    assert (done.code, message in done.err) == (2, True), done.err


def test_how_a_chip_is_simulated_is_the_drivers_business(pimc, image, lab) -> None:
    done = pimc(*EVAL, "--device", "lab", "--dies", 1, "--ir-drop", "exact")
    assert (done.code, "wires are not simulated" in done.err) == (2, True)
