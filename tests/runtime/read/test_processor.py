"""``--device`` names a driver, or what the simulated chip is computed on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.errors import UsageError
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.read.processor import driver_and_processor
from pimc.runtime.session import Session


@pytest.mark.parametrize(
    ("named", "expected"),
    [("sim", ("sim", "cpu")), ("replay", ("replay", "cpu")), ("cpu", ("sim", "cpu"))],
)
def test_drivers_and_processors(named: str, expected: tuple[str, str]) -> None:
    assert driver_and_processor(named) == expected


@pytest.mark.parametrize("named", ["cuda", "cuda:7", "mps"])
def test_a_processor_that_is_not_there(monkeypatch, named: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no such processor") as caught:
        driver_and_processor(named)
    assert caught.value.where == f"--device {named}"


def test_processors_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert driver_and_processor("cuda") == ("sim", "cuda")
    assert driver_and_processor("cuda:1") == ("sim", "cuda:1")
    for named in ("cuda:2", "cuda:x"):
        with pytest.raises(UsageError):
            driver_and_processor(named)


def test_on_the_command_line(pimc, here, tiny_image, tiny_inputs) -> None:
    tiny_image.save("tiny.pimc")
    np.save("x.npy", tiny_inputs)
    for device in ("sim", "cpu"):
        done = pimc("run", "--input", "x.npy", "-o", f"{device}.npy", "--device", device)
        assert done.code == 0, done.err
    assert np.array_equal(np.load("sim.npy"), np.load("cpu.npy"))
    done = pimc("run", "--input", "x.npy", "--device", "cuda:99")
    assert done.code == 2
    assert "no such processor" in done.err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_cuda_computes_the_same_chip(tiny_image, tiny_inputs) -> None:
    found = []
    for processor in ("cpu", "cuda"):
        chip = SimDevice(Die.simulated(3), tiny_image.chip, tiny_image.arrays, device=processor)
        program(tiny_image, chip)
        session = Session(tiny_image, die=chip, device=processor)
        found.append(session.run(None, {"x": tiny_inputs})[0])
    # Float rounding takes a current across the border of two codes now and then.
    apart = np.abs(found[0] - found[1])
    assert (apart > 1e-4 * np.abs(found[0]).max()).mean() < 0.02
