"""Commands about written cells: what a write costs, and dies that age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

DAY = 86_400.0
LOG = {"kind": "log", "log_shift_us": -0.5, "log_sigma_us": 0.2, "sigma_1s_us": 0.5}
VERIFY = {
    "kind": "write_verify",
    "tolerance_us": 1.0,
    "max_pulses": 3,
    "pulse_coefficients_us": [1.5],
    "relaxation_coefficients_us": [0.4],
}


@pytest.fixture
def aging(here: Path, tiny_model, tiny_inputs, tiny_chip) -> Image:
    """An image of a chip whose cells drift, in the current folder with some labelled data."""
    chip = tiny_chip.with_(retention=LOG, **{"read_noise.relative": 0.0})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    image.save("tiny.pimc")
    np.savez("data.npz", x=tiny_inputs, y=np.arange(64) % 4)
    np.save("x.npy", tiny_inputs)
    return image


# --- age ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90s", 90.0), ("1.5min", 90.0), ("2 h", 7200.0), ("1d", DAY), ("2y", 2 * 365.25 * DAY)],
)
def test_age_lets_time_pass(pimc, here: Path, time: str, seconds: float) -> None:
    die = Die.simulated(4)
    die.attach(Chip.load("cmo").with_array(8, 8), 1)
    die.program(np.arange(64), np.full(64, 20))
    die.save("a.die")
    done = pimc("age", time, "--die", "a.die", "--json")
    assert done.code == 0
    assert done.json == {
        "die": "a.die", "passed_s": seconds, "clock_s": seconds, "retention": "log",
    }  # fmt: skip
    die.age(seconds)
    loaded = Die.load("a.die")
    assert np.array_equal(loaded.held_us(np.arange(64)), die.held_us(np.arange(64)))
    assert pimc("age", time, "--die", "a.die", "--json").json["clock_s"] == 2 * seconds
    assert "since it was made" in pimc("age", "0s", "--die", "a.die").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["1d"], 2, "Missing option '--die'"),
        (["--die", "a.die"], 2, "Missing argument 'TIME'"),
        (["1 week", "--die", "a.die"], 2, "'1 week' is no time such as 90s, 5min, 12h, 1d"),
        (["-1d", "--die", "a.die"], 2, "No such option"),
        (["99999999y", "--die", "a.die"], 2, "does not age by"),
        (["1d", "--die", "none.die"], 3, "none.die: no such file"),
        (["1d", "--die", "junk.die"], 3, "junk.die: not a pimc-die file"),
    ],
)
def test_age_refuses(pimc, here: Path, arguments: list[str], code: int, message: str) -> None:
    die = Die.simulated(4)
    die.attach(Chip.load("cmo").with_array(8, 8), 1)
    die.save("a.die")
    Path("junk.die").write_bytes(b"junk")
    before = Path("a.die").read_bytes()
    done = pimc("age", *arguments)
    assert (done.code, message in done.err) == (code, True), done.err
    assert Path("a.die").read_bytes() == before


def test_a_drawn_die_is_read_after_a_time(pimc, aging: Image, tiny_inputs) -> None:
    assert pimc("run", "--input", "x.npy", "-o", "old.npy", "--age", "1d", "--seed", 3).code == 0
    assert pimc("run", "--input", "x.npy", "-o", "new.npy", "--seed", 3).code == 0
    specimen = Die.simulated(3)
    session = Session(aging, specimen, seed=3)
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


# --- write-verify ------------------------------------------------------------------------------


def test_program_reports_the_pulses_of_write_verify(
    pimc, here: Path, tiny_model, tiny_inputs, tiny_chip
) -> None:
    chip = tiny_chip.with_(**{"cell.sigma": VERIFY})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    image.save("tiny.pimc")
    done = pimc("program", "--die", "a.die", "--json").json
    # One pulse is accepted with p = erf(1/(1.5 √2)); three are given.
    accepts = 0.4950149
    success, cells = 1 - (1 - accepts) ** 3, int(image.used.sum())
    assert done["estimated_pulses"] == pytest.approx(cells * success / accepts, rel=1e-6)
    assert done["estimated_missed"] == pytest.approx(cells * (1 - success), rel=1e-6)
    assert done["estimated_energy_pj"] == pytest.approx(10 * done["estimated_pulses"])
    assert done["estimated_seconds"] == pytest.approx(1e-7 * done["estimated_pulses"])
    spread = 4.5 * (cells * success * (1 - success)) ** 0.5
    assert abs(done["cells_missed"] - done["estimated_missed"]) < spread
    shown = pimc("program", "--die", "b.die").out
    assert f"{done['cells_missed']:,} cells did not take it" in shown
    assert "cells out of pulses" in shown
    # What was missed is not asked for again, and holds the image for all that is known.
    assert pimc("program", "--die", "a.die", "--json").json["cells_written"] == 0
    assert pimc("run", "--die", "a.die", "--input", _input(tiny_inputs)).code == 0


def _input(x: np.ndarray) -> str:
    np.save("x.npy", x)
    return "x.npy"


def test_chips_shows_what_each_level_costs(pimc, here: Path) -> None:
    Path("own.toml").write_text(
        'schema = 1\nname = "own"\n[array]\n[cell]\nlevels = 4\ng_min_us = 2.0\ng_max_us = 40.0\n'
        '[cell.sigma]\nkind = "write_verify"\ntolerance_us = 1.0\nmax_pulses = 20\n'
        "pulse_coefficients_us = [1.0, 0.1]\nrelaxation_coefficients_us = [0.5]\n"
    )
    found = pimc("chips", "own.toml", "--json").json["writing"]
    assert [entry["target_us"] for entry in found] == pytest.approx([2, 14.666667, 27.333333, 40])
    assert [entry["level"] for entry in found] == [0, 1, 2, 3]
    # σ_p = 1.2 µS at 2 µS: p = erf(1/(1.2 √2)).
    assert found[0]["pulses"] == pytest.approx(1 / 0.5953432, rel=1e-5)
    assert all(0 < entry["success"] <= 1 for entry in found)
    shown = pimc("chips", "own.toml").out
    assert "accepted" in shown
    assert len(shown.splitlines()) > 40
    assert "writing" not in pimc("chips", "ihp", "--json").json
