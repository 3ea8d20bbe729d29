"""A chip behind a bad driver: exit code 3, one sentence, and ``--resume`` with a sound driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door import drivers
from tests.pimc.cli.lab import CAPTURE, PROGRAM, QUICK, inputs
from tests.runtime.door.faulty import AS_GOOD, FAULTS, SOUND, Fault, Faulty

DEVICE = ("--device", "faulty", "--die", "a.die", "--json")
RUN = ("run", "tiny.pimc", "--input", "x.npy", "-o", "y.npy")
RECOVER = (*QUICK, "--data", "data")


@pytest.fixture
def image(noisy_reads: Image) -> Image:
    np.save("x.npy", inputs())
    return noisy_reads


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs the driver ``faulty`` with a fault."""

    def install(fault: Fault = SOUND, after: int = 0) -> None:
        def opens(image: Image, *, die: Path | None, seed: int) -> Faulty:
            return Faulty.opened(image, die, seed, fault, after=after)

        monkeypatch.setitem(drivers._BUILT_IN, "faulty", opens)

    return install


@pytest.fixture
def programmed(pimc, image, installed) -> Image:
    """A die that holds the image, behind a sound driver."""
    installed()
    assert pimc(*PROGRAM, *DEVICE).code == 0
    return image


def named(done: Any, fault: Fault) -> None:
    """The command told of the fault in one sentence."""
    assert done.code == 3, done
    error = done.json["error"]
    assert (error["exit_code"], error["where"]) == (3, "driver faulty")
    assert re.search(fault.told, error["message"])
    assert f"error: driver faulty: {error['message']}\n" in done.err
    assert "internal error" not in done.err
    assert "path" not in error["hint"]


def cells(path: str) -> dict[str, np.ndarray]:
    return vars(Die.load(path).cells)


def test_the_sound_driver_is_sound(pimc, programmed) -> None:
    for command in (RUN, CAPTURE, RECOVER):
        done = pimc(*command, *DEVICE)
        assert (done.code, "error" in done.json) == (0, False)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.call != "read"], ids=str)
def test_programming_names_the_fault_and_goes_on(pimc, image, installed, fault: Fault) -> None:
    installed()
    assert pimc(*PROGRAM, "--device", "faulty", "--die", "whole.die").code == 0
    installed(fault)
    named(pimc(*PROGRAM, *DEVICE), fault)
    installed()
    done = pimc(*PROGRAM, *DEVICE, "--resume")
    assert (done.code, done.json["device"]) == (0, "lab7")
    for name, value in cells("whole.die").items():
        np.testing.assert_array_equal(cells("a.die")[name], value, err_msg=name)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.call != "program"], ids=str)
def test_reading_names_the_fault(pimc, programmed, installed, fault: Fault) -> None:
    installed(fault)
    before = sorted(entry.name for entry in Path().iterdir())
    for command in (RUN, CAPTURE):
        named(pimc(*command, *DEVICE), fault)
    assert sorted(entry.name for entry in Path().iterdir()) == before


@pytest.mark.parametrize("fault", AS_GOOD, ids=str)
def test_what_is_as_good_is_taken(pimc, programmed, installed, fault: Fault) -> None:
    assert pimc(*RUN, *DEVICE).code == 0
    wanted = np.load("y.npy")
    installed(fault)
    for command in (RUN, CAPTURE):
        assert pimc(*command, *DEVICE).code == 0
    np.testing.assert_array_equal(np.load("y.npy"), wanted)


#: At the first call, and at one in the midst of a recovery.
CUTS = [
    *(("read", what, 0) for what in ("nan", "memory")),
    *(("read", what, 80) for what in ("fractions", "pipe", "exit")),
    *(("program", what, after) for what, after in (("ints", 0), ("exit", 0), ("timeout", 1))),
    ("written", "None", 0),
]


@pytest.mark.parametrize(("call", "what", "after"), CUTS)
def test_recovery_names_the_fault_and_goes_on(
    pimc, programmed, installed, call: str, what: str, after: int
) -> None:
    (fault,) = (fault for fault in FAULTS if str(fault) == f"{call} {what}")
    installed(fault, after)
    done = pimc(*RECOVER, *DEVICE)
    named(done, fault)
    assert not Path("tiny.r1.pimc").exists()
    cut = Path("tiny.r1.recovery").exists()
    assert cut is (after > 0 or call == "program")
    assert ("go on with --resume" in done.err) is cut
    installed()
    done = pimc(*RECOVER, *DEVICE, "--resume")
    assert done.code == 0, done.err
    assert done.json["cells_rewritten"] > 0
    # A cut recovery knows it from its checkpoint.
    assert done.json["accuracy_before"][0] > 0.25
    assert done.json["accuracy_after"][0] > 0.75
    assert done.json["accuracy_after"][0] > 0.5
    # The chip holds what the next image says.
    assert pimc("run", "tiny.r1.pimc", *RUN[2:], *DEVICE).code == 0


# --- what is printed ---------------------------------------------------------------------------

LOUD = """
import ctypes, os
print("imported")
from tests.runtime.door.faulty import Faulty, SOUND
LIBC = ctypes.CDLL(None)

def open(image, *, die, seed):
    "A driver that talks."
    print("opened")
    return Loud(image, die, seed)

class Loud(Faulty):
    def __init__(self, image, die, seed):
        opened = Faulty.opened(image, die, seed, SOUND)
        super().__init__(opened.inner, path=die)

    def program(self, cells, levels):
        print("programming")
        os.write(1, b"by descriptor\\n")
        LIBC.puts(b"by library")
        return super().program(cells, levels)
"""


def test_prints_go_to_stderr(tiny_image, here) -> None:
    tiny_image.save("tiny.pimc")
    Path("loud.py").write_text(LOUD)
    info = Path("loud-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pimc.devices]\nloud = loud:open\n")
    root = Path(__file__).parents[3]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = f"from pimc.cli.main import main; main({list(arguments)!r})"
        paths = os.pathsep.join([str(here), str(root)])
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    done = run("devices", "--json")
    assert "imported" in done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["devices"]}
    assert found["loud"] == {
        "name": "loud", "description": "A driver that talks", "available": True,
    }  # fmt: skip
    done = run("program", "tiny.pimc", "--device", "loud", "--die", "a.die", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"] == "lab7"
    for told in ("imported", "opened", "programming", "by descriptor", "by library"):
        assert told in done.stderr
