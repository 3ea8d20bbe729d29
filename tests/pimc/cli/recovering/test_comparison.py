"""``pimc recover --compare`` and ``--list-strategies``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pimc.data.dataset import load_data
from pimc.image.image import Image
from pimc.passes.recover.bench.floor import with_perfect_cells
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, accuracy
from pimc.studies.intervals import interval

QUICK = ("--epochs", "1", "--rounds", "1")


@pytest.fixture
def job(tiny_image: Image, here: Path) -> Path:
    """The current folder: an image and a folder of labelled data."""
    tiny_image.save(here / "tiny.pimc")
    (here / "data").mkdir()
    rng = np.random.default_rng(3)
    for name, count in (("calib", 64), ("test", 64)):
        x = rng.standard_normal((count, 2, 8, 8)).astype(np.float32)
        np.savez(here / "data" / f"{name}.npz", x=x, y=rng.integers(0, 4, count))
    return here


def test_strategies_are_listed_without_anything_else(pimc, here) -> None:
    done = pimc("recover", "--list-strategies", "--json")
    assert done.code == 0
    found = {one["name"]: one["description"] for one in json.loads(done.out)["strategies"]}
    assert list(found) == [
        "none",
        "affine",
        "vat",
        "vat-kd",
        "layerwise",
        "full-rewrite",
        "residual",
        "selective",
    ]
    assert all(len(description) > 20 for description in found.values())


def test_table_and_picture_of_all_dies_are_written(pimc, job) -> None:
    done = pimc(
        "recover", "--compare", "--calib", "data", "--data", "data", "--dies", 2, "--seed", 5,
        "--strategy", "none", "--strategy", "affine", *QUICK, "--picture", "p.svg", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["dies"] == [5, 6]
    perfect = with_perfect_cells(Image.load(job / "tiny.pimc"))
    labelled = Batches(load_data(job / "data", role="test"))
    floor = accuracy(Session(perfect, die=Die.simulated(5), seed=5), labelled)
    assert result["floor_accuracy"] == floor
    assert [one["residual_weights"] for one in result["outcomes"]] == [0] * 4
    assert [(one["strategy"], one["seed"]) for one in result["outcomes"]] == [
        ("none", 5), ("none", 6), ("affine", 5), ("affine", 6),
    ]  # fmt: skip
    for one in result["outcomes"][:2]:
        assert one["accuracy_before"] == one["accuracy_after"]
    assert json.loads((job / "tiny.compare.json").read_text())["outcomes"] == result["outcomes"]
    lines = (job / "tiny.compare.md").read_text().splitlines()
    assert lines[0].startswith("2 dies, 64 samples, 64 calibration samples; in brackets 95 % inter")
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| none", "| affine"]
    for name in ("p.svg", "p.layers.svg"):
        assert "<svg" in (job / name).read_text()
    assert not list(job.glob("*.png"))
    assert not list(job.glob("*.r1.*"))


def test_intervals_are_over_dies_and_samples(pimc, job) -> None:
    """Dies of the same accuracies do not make samples certain; what is won is paired."""
    arguments = [
        "recover", "--compare", "--calib", "data", "--data", "data", "--dies", 2, "--seed", 5,
        "--strategy", "none", "--strategy", "affine", *QUICK,
    ]  # fmt: skip
    result = pimc(*arguments, "--json").json
    assert result["samples"] == 64
    nothing, affine = result["strategies"]
    assert [nothing["strategy"], affine["strategy"]] == ["none", "affine"]
    for found in (nothing, affine):
        of = [one for one in result["outcomes"] if one["strategy"] == found["strategy"]]
        for key in ("accuracy_before", "accuracy_after"):
            values = [one[key] for one in of]
            assert found[key]["mean"] == pytest.approx(np.mean(values))
            assert found[key]["interval_95"] == list(interval(values, 64))
        won = [one["accuracy_after"] - one["accuracy_before"] for one in of]
        assert found["gained"]["per_die"] == pytest.approx(won)
    # Nothing was done, which says little of samples that were not looked at.
    low, high = nothing["gained"]["interval_95"]
    assert (nothing["gained"]["mean"], low) == (0.0, pytest.approx(-high))
    assert high == pytest.approx(1.96 / 66, rel=1e-3)
    text = pimc(*arguments).out
    assert "2 dies, 64 samples, 64 calibration samples" in text
    assert re.search(
        r"\nnone +\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d %\) .* 0\.00 \(-2\.97 to 2\.97\)", text
    )


def test_without_labels_there_is_no_accuracy(pimc, job) -> None:
    done = pimc("recover", "--compare", "--calib", "data", "--strategy", "none", "--json")
    assert (done.json["samples"], done.json["strategies"][0]["gained"]) == (None, None)
    assert done.json["outcomes"][0]["accuracy_after"] is None
    assert (job / "tiny.compare.md").read_text().startswith("1 die, 64 calibration samples\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "--die", "a.die"], "simulated dies only"),
        (["--compare", "--device", "replay"], "simulated dies only"),
        (["--compare", "--strategy", "selectiv"], "no such strategy"),
        (["--strategy", "none", "--strategy", "affine"], "one strategy"),
        (["--compare", "--resume"], "cannot be resumed"),
        (["--compare", "--since", "a.json"], "freshly written dies"),
        (["--jobs", "2"], "is for several dies"),
        (["--strategy", "afine"], "no such strategy"),
    ],
)
def test_bad_choices_end_with_a_sentence(pimc, job, arguments, message) -> None:
    done = pimc("recover", "--calib", "data", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
