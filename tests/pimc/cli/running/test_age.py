"""``pimc age``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90s", 90.0), ("1.5min", 90.0), ("2 h", 7200.0), ("1d", 86_400.0), ("2y", 2 * 31_557_600.0)],
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
