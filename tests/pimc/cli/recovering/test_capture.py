"""``pimc capture``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.runtime.capture import Capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session


@pytest.fixture
def job(recovery_job: Path) -> Path:
    return recovery_job


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_capture_writes_what_the_die_gives(pimc, job, noisy) -> None:
    before = sha256_file("chip.die")
    done = pimc("capture", "--calib", "data", "--die", "chip.die", "--vectors", 64, "--repeats", 2,
                "--taken", "2026-01-31T12:00:00Z", "-o", "a.pimccap", "--json")  # fmt: skip
    assert done.code == 0
    assert done.json["output"] == "a.pimccap"
    assert (done.json["die"], done.json["layers"], done.json["samples"]) == ("sim:7", 3, 128)
    assert done.json["images"] == 128
    assert done.json["bytes"] == Path("a.pimccap").stat().st_size
    found = Capture.load("a.pimccap", noisy)
    assert found.taken == "2026-01-31T12:00:00Z"
    assert found.layers[0].codes.shape[0] == 2
    assert found.layers[0].inputs.shape[2] == 64
    assert found.outputs["y"].shape == (128, 4)
    assert sha256_file("chip.die") == before


def test_capture_names_its_file_after_the_image(pimc, job, noisy) -> None:
    done = pimc("capture", "--calib", "data", "--vectors", 16, "--seed", 4)
    assert done.code == 0
    assert Capture.load("tiny.pimccap", noisy).die == "sim:4"
    assert "tiny.pimccap" in done.out


def test_capture_refuses_a_die_of_another_image(pimc, job, noisy) -> None:
    Session(noisy.updated(levels=15 - noisy.levels), die=(die := Die.simulated(1)))
    die.save("other.die")
    done = pimc("capture", "--calib", "data", "--die", "other.die")
    assert done.code == 2
    assert "do not hold this image" in done.err
    assert "tiny.pimccap" not in names(job)
