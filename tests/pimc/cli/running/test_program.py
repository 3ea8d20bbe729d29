"""``pimc program``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pimc.api import Options, compile
from pimc.runtime.die.die import Die
from pimc.runtime.door import drivers
from pimc.runtime.door.sim import SimDevice


class Stuck(SimDevice):
    """A chip of which some cells report that they did not take a write."""

    def program(self, cells, levels):
        super().program(cells, levels)
        return cells % 7 != 0


def test_program_tells_how_many_cells_did_not_take_it(pimc, image, monkeypatch) -> None:
    def open_stuck(image, *, die, seed):
        return Stuck(Die.simulated(seed), image.chip, image.arrays)

    monkeypatch.setitem(drivers._BUILT_IN, "bench", open_stuck)
    missed = int((np.flatnonzero(image.used) % 7 == 0).sum())
    assert missed > 0
    done = pimc("program", "--device", "bench", "--json")
    assert (done.code, done.json["cells_missed"]) == (0, missed)
    assert f"{missed:,} cells did not take it" in pimc("program", "--device", "bench").out


def cells(path) -> dict[str, np.ndarray]:
    return vars(Die.load(path).cells)


def test_program_writes_a_die_and_then_only_what_differs(pimc, image, here) -> None:
    done = pimc("program", "--die", "a.die", "--json", "--seed", "5")
    used = int(image.used.sum())
    assert done.code == 0
    assert (done.json["cells_written"], done.json["cells_kept"]) == (used, 0)
    assert done.json["device"] == "sim:5"
    pulses = used * image.chip.programming.pulses_per_cell
    wanted = pulses * image.chip.programming.pulse_ns * 1e-9
    assert done.json["estimated_seconds"] == pytest.approx(wanted)
    wanted = pulses * image.chip.programming.pulse_energy_pj
    assert done.json["estimated_energy_pj"] == pytest.approx(wanted)
    before = (here / "a.die").read_bytes()
    again = pimc("program", "--die", "a.die", "--json").json
    assert (again["cells_written"], again["cells_kept"]) == (0, used)
    assert (here / "a.die").read_bytes() == before
    assert sorted(entry.name for entry in here.iterdir()) == ["a.die", "tiny.pimc"]

    levels = image.levels.copy()
    first = np.argwhere(image.used)[0]
    levels[tuple(first)] ^= 1
    image.updated(levels=levels).save("next.pimc")
    update = pimc("program", "next.pimc", "--die", "a.die", "--json").json
    assert (update["cells_written"], update["arrays_written"]) == (1, 1)
    assert cells("a.die")["writes"][tuple(first)] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
@pytest.mark.parametrize("checkpoint_s", [0.0, 1000.0])
def test_programming_cut_anywhere_resumes_to_the_same_die(
    pimc, image, here, monkeypatch, checkpoint_s, error
) -> None:
    from pimc.functions import program as module

    monkeypatch.setattr(module, "CHECKPOINT_S", checkpoint_s)
    assert pimc("program", "--die", "whole.die").code == 0
    original = Die.program
    assert image.arrays >= 3

    for stop in range(image.arrays):
        name = f"cut{stop}.die"
        calls: list[int] = []

        def cut(self, *arguments, stop=stop, calls=calls):
            calls.append(1)
            if len(calls) == stop + 1:
                raise error
            return original(self, *arguments)

        monkeypatch.setattr(Die, "program", cut)
        done = pimc("program", "--die", name)
        assert done.code == (130 if error is KeyboardInterrupt else 2)
        saved = stop if checkpoint_s == 0 else 0
        assert (here / name).exists() == (saved > 0)
        assert not list(here.glob(".*.tmp"))
        monkeypatch.setattr(Die, "program", original)
        done = pimc("program", "--die", name, "--resume", "--json")
        assert done.code == 0
        assert done.json["arrays_resumed"] == saved
        for key, value in cells("whole.die").items():
            np.testing.assert_array_equal(cells(name)[key], value)
        assert not (here / f"{name}.journal").exists()


def test_a_killed_process_resumes_to_the_same_die(pimc, image, here) -> None:
    assert pimc("program", "--die", "whole.die").code == 0
    code = """
import time
from pimc.functions import program
from pimc.cli.main import main
from pimc.runtime.die.die import Die
program.CHECKPOINT_S = 0
write = Die.program
def slowly(self, *arguments):
    time.sleep(0.2)
    return write(self, *arguments)
Die.program = slowly
main(["program", "--die", "cut.die"])
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    journal = here / "cut.die.journal"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    noted = journal.read_text().count("\n") - 1
    journal.write_text(journal.read_text() + '{"arr')  # what a crash may leave
    done = pimc("program", "--die", "cut.die", "--resume", "--json")
    assert done.code == 0
    assert done.json["arrays_resumed"] == noted >= 2
    for key, value in cells("whole.die").items():
        np.testing.assert_array_equal(cells("cut.die")[key], value)


def test_resume_does_not_trust_a_journal_whose_die_has_gone(pimc, image, here) -> None:
    pimc("program", "--die", "whole.die")
    lines = [{"image": image.sha256, "device": "sim:0"}, {"array": 0}, {"array": 99}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (here / "b.die.journal").write_text(text)
    done = pimc("program", "--die", "b.die", "--resume", "--json")
    assert (done.code, done.json["arrays_resumed"]) == (0, 0)
    np.testing.assert_array_equal(cells("b.die")["g_us"], cells("whole.die")["g_us"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": "x", "device": "sim:0"}\n', "another image or device"),
        ('{"image": "x"}\nno json\n', "not a journal"),
        ('{"image": "x"}\n{"row": 1}\n', "not a journal"),
    ],
)
def test_a_foreign_or_damaged_journal_is_refused(pimc, image, here, text, message) -> None:
    (here / "c.die.journal").write_text(text)
    done = pimc("program", "--die", "c.die", "--resume")
    assert done.code == 3
    assert message in done.err
    assert pimc("program", "--die", "c.die").code == 0


def test_program_refuses_bad_devices_and_dies(pimc, image, dynamic_image, here) -> None:
    assert "needs a file" in pimc("program").err
    done = pimc("program", "--device", "sin", "--die", "a.die")
    assert done.code == 2
    assert "did you mean sim?" in done.err
    (here / "bad.die").write_bytes(b"no die")
    done = pimc("program", "--die", "bad.die")
    assert (done.code, done.out) == (3, "")
    other = Die.simulated(1)
    other.attach(image.chip.with_array(8, 8), 1)
    other.save("other.die")
    done = pimc("program", "--die", "other.die")
    assert done.code == 3
    assert "die of chip" in done.err
    done = pimc("program", "--die", "nowhere/a.die")
    assert done.code == 2
    assert not (here / "nowhere").exists()


VERIFY = {
    "kind": "write_verify",
    "tolerance_us": 1.0,
    "max_pulses": 3,
    "pulse_coefficients_us": [1.5],
    "relaxation_coefficients_us": [0.4],
}


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


@pytest.fixture
def other(tiny_model, tiny_inputs, image) -> None:
    """An image of another network for the same chip: other.pimc."""
    compile(tiny_model(seed=1), image.chip, calib=tiny_inputs).save("other.pimc")


def test_another_network_is_only_written_over_with_force(pimc, image, other, here) -> None:
    assert pimc("program", "tiny.pimc", "--die", "a.die").code == 0
    before = (here / "a.die").read_bytes()
    done = pimc("program", "other.pimc", "--die", "a.die")
    assert done.code == 2
    assert "sim:0: holds another network than tiny.onnx" in done.err
    assert f"of the {int(image.used.sum()):,} written cells that the image uses would" in done.err
    assert "--force" in done.err
    assert (here / "a.die").read_bytes() == before
    assert not (here / "a.die.journal").exists()
    done = pimc("program", "other.pimc", "--die", "a.die", "--force", "--json")
    assert done.code == 0
    assert done.json["cells_written"] > 0
    # It holds that one now.
    assert pimc("program", "other.pimc", "--die", "a.die").code == 0
    assert pimc("program", "tiny.pimc", "--die", "a.die").code == 2


def test_a_forced_run_that_was_cut_goes_on_without_force(
    pimc, image, other, here, monkeypatch
) -> None:
    from pimc.functions import program as module

    monkeypatch.setattr(module, "CHECKPOINT_S", 0.0)
    pimc("program", "tiny.pimc", "--die", "a.die")
    write, calls = Die.program, []

    def cut(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Die, "program", cut)
        assert pimc("program", "other.pimc", "--die", "a.die", "--force").code == 130
    done = pimc("program", "other.pimc", "--die", "a.die", "--resume", "--json")
    assert (done.code, done.json["arrays_resumed"]) == (0, 1)


@pytest.mark.parametrize("how", ["other data", "without data", "every weight on its own"])
def test_the_next_image_of_the_same_network_needs_no_force(
    pimc, image, tiny_model, tiny_inputs, here, how
) -> None:
    calib = {"other data": 3 * tiny_inputs[:32], "without data": None}.get(how, tiny_inputs)
    options = Options(feedback=how != "every weight on its own")
    compile(tiny_model(), image.chip, calib=calib, options=options).save("next.pimc")
    pimc("program", "tiny.pimc", "--die", "a.die")
    done = pimc("program", "next.pimc", "--die", "a.die", "--json")
    assert done.code == 0, done.err
    assert done.json["cells_written"] > 0
