"""``pimc recover --since``: a die that aged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.runtime.die.die import Die

#: A few epochs on few images.
QUICK = ("--epochs", "1", "--rounds", "2")


RECOVER = ("recover", "--calib", "data", "--die", "chip.die", *QUICK)


@pytest.fixture
def job(recovery_job: Path) -> Path:
    return recovery_job


@pytest.fixture
def recovered(pimc, job) -> dict[str, Any]:
    done = pimc(*RECOVER, "--data", "data", "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json
    return found


SINCE = (
    "recover", "tiny.r1.pimc", "--calib", "data", "--die", "chip.die", *QUICK,
    "--since", "tiny.r1.report.json",
)  # fmt: skip


def test_a_die_that_did_not_change_is_left_as_it_is(pimc, job, recovered) -> None:
    done = pimc(*SINCE, "--json")
    assert done.code == 0, done.err
    (told,) = done.json["dies"]
    assert [stage["name"] for stage in told["stages"]] == ["as programmed"]
    assert told["cells_rewritten"] == 0


def test_what_gains_and_offsets_bring_back_needs_no_more(pimc, job, recovered) -> None:
    # All conductances fall by a tenth.
    die = Die.load("chip.die")
    die.cells.g_us *= np.float32(0.9)
    die.cells.reference_us *= np.float32(0.9)
    die.save("chip.die")
    (told,) = pimc(*SINCE, "--json").json["dies"]
    names = [stage["name"] for stage in told["stages"]]
    assert names == ["as programmed", "column gain and offset"]
    first, second = told["stages"]
    assert second["loss"] < 0.5 * first["loss"]
    assert second["kept"]


def test_cells_that_moved_are_written(pimc, job, recovered) -> None:
    die = Die.load("chip.die")
    rng = np.random.default_rng(0)
    moved = die.cells.g_us + rng.normal(0, 6, die.cells.g_us.shape).astype(np.float32)
    die.cells.g_us[...] = np.maximum(moved, 0)
    die.save("chip.die")
    (told,) = pimc(*SINCE, "--json").json["dies"]
    assert told["cells_rewritten"] > 0
    assert told["findings"]["away_us"] > 5
    losses = [stage["loss"] for stage in told["stages"]]
    assert min(losses[2:]) < losses[1] < losses[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a recovery's report"),
        ("nothing", "cannot be read as a recovery's report"),
        ("[]", "cannot be read as a recovery's report"),
        ('{"sha256": "0", "stages": []}', "cannot be read as a recovery's report"),
        ('{"sha256": "0", "stages": [{"kept": true, "loss": 1}]}', "of another image"),
    ],
)
def test_what_is_no_report_is_refused(pimc, job, content, message) -> None:
    if content is not None:
        Path("a.json").write_text(content)
    before = sha256_file("chip.die")
    done = pimc(*RECOVER, "--since", "a.json")
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert sha256_file("chip.die") == before


def test_a_capture_is_not_enough(pimc, job, recovered) -> None:
    assert pimc("capture", "tiny.r1.pimc", "--calib", "data", "--die", "chip.die", "-o",
                "data/a.pimccap").code == 0  # fmt: skip
    done = pimc("recover", "tiny.r1.pimc", "--calib", "data", "--since", "tiny.r1.report.json")
    assert done.code == 2
    assert "name the die with --die" in done.err
