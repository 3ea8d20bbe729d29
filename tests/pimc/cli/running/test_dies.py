"""Which dies ``run``, ``eval`` and ``capture`` read: aged ones, with wires, worn by reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.api import compile
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.physics.disturb import PARTS
from pimc.runtime.session import Session


def write_image(tiny_image, **keys: float) -> None:
    chip = tiny_image.chip.with_(**{"read_noise.relative": 0.0, **keys})
    tiny_image.updated(chip=chip.to_dict()).save("tiny.pimc")


@pytest.fixture
def job(tiny_image, tiny_inputs, here):
    """The tiny image on a chip with thin wires, and labelled data."""
    write_image(tiny_image, **{"array.wire_ohm": 30.0})
    np.savez("data.npz", x=tiny_inputs, y=np.zeros(len(tiny_inputs), np.int64))
    np.save("x.npy", tiny_inputs)
    return here


def outputs(pimc, *options: str) -> np.ndarray:
    assert pimc("run", "--input", "x.npy", "-o", "y.npy", *options).code == 0
    return np.load("y.npy")


def test_run_takes_wires_into_account_as_asked(pimc, job, tiny_inputs) -> None:
    default, first, exact = (
        outputs(pimc, *options) for options in ([], ["--ir-drop", "first"], ["--ir-drop", "exact"])
    )
    assert np.array_equal(default, first)
    wanted = Session("tiny.pimc", die=Die.simulated(0), ir_drop="exact").run(
        None, {"x": tiny_inputs}
    )
    assert np.allclose(exact, wanted[0], rtol=0, atol=1e-5)
    ideal = outputs(pimc, "--ideal")
    assert 0 < np.abs(exact - first).max() < 0.5 * np.abs(ideal - first).max()


def test_eval_and_capture_take_the_same_option(pimc, job) -> None:
    for method in ("first", "exact"):
        common = ("--ir-drop", method, "--json")
        done = pimc("eval", "--data", "data.npz", "--dies", 1, "--limit", 8, *common)
        assert done.code == 0, done.err
        done = pimc(
            "capture", "--calib", "data.npz", "--vectors", 8, "-o", f"{method}.cap", *common
        )
        assert done.code == 0, done.err
    assert (job / "first.cap").read_bytes() != (job / "exact.cap").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ir-drop", "second"], "'second' is not one of"),
        (["--ir-drop", "exact", "--ideal"], "--ideal and --ir-drop exclude each other"),
        (["--ir-drop", "exact", "--device", "replay"], "the simulated chip only"),
    ],
)
def test_ir_drop_is_refused_where_it_means_nothing(pimc, job, options, message) -> None:
    done = pimc("run", "--input", "x.npy", *options)
    assert done.code == 2
    assert message in done.err
    assert not (job / "x.out.npz").exists()


def stress() -> float:
    return Die.load("a.die").cells.stress.sum() / PARTS


def test_reads_stay_in_the_die_file(pimc, job, tiny_image) -> None:
    write_image(tiny_image, **{"disturb.tau0_s": 1.0})
    assert pimc("program", "--die", "a.die").code == 0
    seen = [stress()]
    for command in (
        ("run", "--input", "x.npy"),
        ("eval", "--data", "data.npz"),
        ("capture", "--calib", "data.npz", "--vectors", 8),
    ):
        assert pimc(*command, "--die", "a.die").code == 0
        seen.append(stress())
    assert seen[0] == 0
    assert (np.diff(seen) > 0).all()


def test_without_disturb_reading_leaves_the_die_file_alone(pimc, job) -> None:
    assert pimc("program", "--die", "a.die").code == 0
    before = (job / "a.die").read_bytes()
    assert pimc("run", "--input", "x.npy", "--die", "a.die").code == 0
    assert (job / "a.die").read_bytes() == before


def test_looking_at_labelled_data_does_not_wear_the_die(pimc, job, tiny_image) -> None:
    write_image(tiny_image, **{"disturb.tau0_s": 1.0})
    assert pimc("program", "--die", "a.die").code == 0
    start = (job / "a.die").read_bytes()
    seen = []
    for options in ([], ["--data", "data.npz"]):
        (job / "a.die").write_bytes(start)
        done = pimc("recover", "--calib", "data.npz", "--die", "a.die", "--rounds", 0,
                    "--epochs", 0, "-o", "next.pimc", *options)  # fmt: skip
        assert done.code == 0, done.err
        seen.append(stress())
        (job / "next.pimc").unlink()
    assert seen[0] == seen[1] > 0


DAY = 86_400.0


LOG = {"kind": "log", "log_shift_us": -0.5, "log_sigma_us": 0.2, "sigma_1s_us": 0.5}


@pytest.fixture
def aging(here: Path, tiny_model, tiny_inputs, tiny_chip) -> Image:
    """An image of a chip whose cells drift, in the current folder with some labelled data."""
    chip = tiny_chip.with_(retention=LOG, **{"read_noise.relative": 0.0})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    image.save("tiny.pimc")
    np.savez("data.npz", x=tiny_inputs, y=np.arange(64) % 4)
    np.save("x.npy", tiny_inputs)
    return image


def test_a_drawn_die_is_read_after_a_time(pimc, aging: Image, tiny_inputs) -> None:
    assert pimc("run", "--input", "x.npy", "-o", "old.npy", "--age", "1d", "--seed", 3).code == 0
    assert pimc("run", "--input", "x.npy", "-o", "new.npy", "--seed", 3).code == 0
    specimen = Die.simulated(3)
    session = Session(aging, die=specimen, seed=3)
    (wanted,) = session.run(None, {"x": tiny_inputs})
    assert np.array_equal(np.load("new.npy"), wanted)
    specimen.age(DAY)
    (wanted,) = session.run(None, {"x": tiny_inputs})
    assert np.array_equal(np.load("old.npy"), wanted)
    assert not np.array_equal(np.load("old.npy"), np.load("new.npy"))


def test_eval_of_aged_dies_is_that_of_an_aged_file(pimc, aging: Image) -> None:
    drawn = pimc("eval", "--data", "data.npz", "--dies", 2, "--age", "1h", "--json").json
    assert drawn["age_s"] == 3600.0
    assert pimc("eval", "--data", "data.npz", "--dies", 2, "--json").json["age_s"] == 0.0
    for seed in (0, 1):
        assert pimc("program", "--die", f"{seed}.die", "--seed", seed).code == 0
        assert pimc("age", "60min", "--die", f"{seed}.die").code == 0
        one = pimc("eval", "--data", "data.npz", "--die", f"{seed}.die", "--json").json
        assert one["accuracy_mean"] == drawn["accuracy_per_die"][seed]


@pytest.mark.parametrize("other", [["--ideal"], ["--die", "a.die"], ["--device", "replay"]])
@pytest.mark.parametrize("command", [["run", "--input", "x.npy"], ["eval", "--data", "data.npz"]])
def test_only_drawn_dies_are_aged_by_the_way(
    pimc, aging: Image, other: list[str], command: list[str]
) -> None:
    done = pimc(*command, *other, "--age", "1d")
    assert done.code == 2
    assert "--age is for dies that are drawn from --seed" in done.err
