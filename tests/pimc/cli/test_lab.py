"""A laboratory's driver behind the commands: docs/lab_driver.py, whole and without each ability."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.image.image import Image
from pimc.runtime.capture import Capture
from pimc.runtime.door import drivers
from pimc.runtime.session import Session
from tests.pimc.cli.lab import CAPTURE, EVAL, PROGRAM, QUICK, inputs, rack


@pytest.fixture
def image(noisy_reads: Image) -> Image:
    return noisy_reads


def timeless(report: Path) -> dict[str, Any]:
    """A report without what tells how it was called and how long it took."""
    found = json.loads(report.read_text())
    del found["seconds"], found["command_line"]
    for stage in found["stages"]:
        del stage["seconds"]
    return found


def cut_at(count: int) -> Callable[..., Any]:
    """A chip's ``program`` that Ctrl-C cuts at a call."""
    calls: list[int] = []

    def program(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return self.uncut(*arguments)

    return program


# --- what is installed -------------------------------------------------------------------------


def test_the_drivers_are_listed(pimc, image, lab) -> None:
    found = {info["name"]: info for info in pimc("devices", "--json").json["devices"]}
    assert list(found) == ["lab", "rack", "replay", "sim"]
    assert found["lab"]["description"] == "A rack of cells, kept in an .npz file"
    assert found["rack"]["description"].startswith("The rack in the file")
    assert all(info["available"] for info in found.values())


# --- Savable -----------------------------------------------------------------------------------


def test_what_was_written_is_saved_and_found_again(pimc, image, lab) -> None:
    done = pimc(*PROGRAM, "--device", "rack", "--die", "a.npz", "--seed", 3, "--json")
    assert (done.code, done.json["cells_written"]) == (0, int(image.used.sum()))
    again = pimc(*PROGRAM, "--device", "rack", "--die", "a.npz", "--json").json
    assert (again["cells_written"], again["device"]) == (0, "rack:3")
    np.save("x.npy", inputs())
    done = pimc("run", "--input", "x.npy", "-o", "y.npy", "--device", "rack", "--die", "a.npz")
    assert done.code == 0
    device = rack(lab, image, 3).observer(0)
    (wanted,) = Session(image, die=device).run(None, {"x": inputs()})
    assert np.array_equal(np.load("y.npy"), wanted)


def test_programming_that_was_cut_resumes_to_the_same_cells(
    pimc, tiny_image, here, lab, monkeypatch
) -> None:
    from pimc.functions import program as module

    monkeypatch.setattr(module, "CHECKPOINT_S", 0.0)
    tiny_image.save("tiny.pimc")
    assert tiny_image.arrays >= 2
    assert pimc(*PROGRAM, "--device", "rack", "--die", "whole.npz").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(lab.Rack, "uncut", lab.Rack.program, raising=False)
        patch.setattr(lab.Rack, "program", cut_at(2))
        assert pimc(*PROGRAM, "--device", "rack", "--die", "cut.npz").code == 130
    assert Path("cut.npz").exists()
    assert Path("cut.npz").read_bytes() != Path("whole.npz").read_bytes()
    done = pimc(*PROGRAM, "--device", "rack", "--die", "cut.npz", "--resume", "--json")
    assert (done.code, done.json["arrays_resumed"]) == (0, 1)
    assert Path("cut.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_a_chip_that_cannot_be_saved_is_taken_to_keep_its_cells(pimc, image, without) -> None:
    without("Savable")
    before = sorted(entry.name for entry in Path().iterdir())
    done = pimc(*PROGRAM, "--device", "bare", "--die", "tcp:1", "--json")
    assert (done.code, done.json["die"]) == (0, "tcp:1")
    assert sorted(entry.name for entry in Path().iterdir()) == before
    # This one does not keep them.
    done = pimc(*EVAL, "--device", "bare", "--die", "tcp:1")
    assert done.code == 2
    assert "cells do not hold this image" in done.err


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("command", [("run", "--input", "x.npy"), EVAL, CAPTURE])
def test_reads_are_saved_where_they_change_something(
    pimc, image, lab, monkeypatch, command, change
) -> None:
    np.save("x.npy", inputs())
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    before, read = sha256_file("a.npz"), lab.Rack.read

    def wearing(self: Any, *arguments: Any) -> Any:
        self._g_us *= 0.999
        return read(self, *arguments)

    monkeypatch.setattr(lab.Rack, "read", wearing)
    monkeypatch.setattr(lab.Rack, "reads_change", change)
    assert pimc(*command, "--device", "rack", "--die", "a.npz").code == 0
    assert (sha256_file("a.npz") != before) is change


def test_a_recovered_chip_is_saved(pimc, image, lab) -> None:
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    done = pimc(*QUICK, "--device", "rack", "--die", "a.npz", "--json")
    assert (done.code, done.json["dies"][0]["die_file"]) == (0, "a.npz")
    assert done.json["cells_rewritten"] > 0
    assert pimc(*EVAL, "tiny.r1.pimc", "--device", "rack", "--die", "a.npz").code == 0
    assert pimc(*EVAL, "tiny.pimc", "--device", "rack", "--die", "a.npz").code == 2


def test_the_report_names_no_file_of_a_chip_for_which_there_is_none(
    pimc, image, lab, monkeypatch
) -> None:
    attached = rack(lab, image)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)
    done = pimc(*QUICK, "--device", "bench", "--json")
    assert (done.code, done.json["dies"][0]["die_file"]) == (0, None)
    assert not list(Path().glob("*.die.npz"))
    assert sorted(entry.name for entry in Path().glob("*.die")) == ["chip.die"]


@pytest.mark.parametrize("address", ["tcp:1", "SN 0042/7", "/dev/bench/0", "TCPIP0::inst0::INSTR"])
def test_an_address_need_not_be_a_file(pimc, image, lab, monkeypatch, address) -> None:
    attached, named = rack(lab, image), []

    def opens(image: Image, *, die: Path, seed: int) -> Any:
        named.append(str(die))
        return attached

    monkeypatch.setitem(drivers._BUILT_IN, "bench", opens)
    monkeypatch.delattr(lab.Rack, "save")
    for command in (CAPTURE, EVAL, QUICK):
        assert pimc(*command, "--device", "bench", "--die", address).code == 0
    assert named == [address] * 3
    assert not Path(address).exists()


# --- Observable, Resumable ---------------------------------------------------------------------


def test_looking_at_labelled_data_changes_no_recovery(pimc, image, lab, without) -> None:
    without("Observable")
    found = {}
    for device in ("rack", "bare"):
        for data in ((), ("--data", "data")):
            pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
            name = f"{device}{len(data)}.pimc"
            done = pimc(*QUICK, *data, "-o", name, "--device", device, "--die", "a.npz")
            assert done.code == 0
            found[name] = Path(name).read_bytes()
            Path("a.npz").unlink()
    assert found["rack0.pimc"] == found["rack2.pimc"] == found["bare0.pimc"]
    assert found["bare2.pimc"] != found["bare0.pimc"]


def test_a_recovery_that_was_cut_ends_as_if_it_had_not_been(pimc, image, lab, monkeypatch) -> None:
    recover = (*QUICK, "--device", "rack", "--die", "a.npz")
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    cells = Path("a.npz").read_bytes()
    assert pimc(*recover, "-o", "whole.pimc").code == 0
    held = Path("a.npz").read_bytes()
    Path("a.npz").write_bytes(cells)
    with monkeypatch.context() as patch:
        patch.setattr(lab.Rack, "uncut", lab.Rack.program, raising=False)
        patch.setattr(lab.Rack, "program", cut_at(2))
        assert pimc(*recover, "-o", "cut.pimc").code == 130
    assert Path("a.npz").read_bytes() == cells
    assert pimc(*recover, "-o", "cut.pimc", "--resume").code == 0
    assert Path("cut.pimc").read_bytes() == Path("whole.pimc").read_bytes()
    assert Path("a.npz").read_bytes() == held
    one, two = (timeless(Path(f"{name}.report.json")) for name in ("cut", "whole"))
    assert {**one, "output": "whole.pimc"} == two


# --- CountsReads, CountsSaturation -------------------------------------------------------------


def test_counts_are_told_where_there_are_any(pimc, image, lab, without) -> None:
    without("CountsReads", "CountsSaturation")
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    layers = {layer.name for layer in image.layers}
    for device, reads, counted in (("rack", 0, layers), ("bare", -1, set())):
        done = pimc(*EVAL, "--device", device, "--die", "a.npz", "--json")
        assert set(done.json["saturation"]) == counted
        assert pimc(*CAPTURE, "-o", "c.pimccap", "--device", device, "--die", "a.npz").code == 0
        assert Capture.load("c.pimccap", image).reads == reads


# --- ReadsLayers -------------------------------------------------------------------------------


def test_whole_layers_are_read_where_the_chip_can(pimc, image, lab, monkeypatch) -> None:
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    np.save("x.npy", inputs())
    whole = image.layers[0].name
    seen: list[str] = []

    def read_layer(self: Any, region: Any, layer: Any, x: Any, side: Any = None) -> Any:
        seen.append(layer.name)
        return x.new_zeros(len(x), layer.groups * layer.bitlines, 16)

    run = ("run", "--input", "x.npy", "--device", "rack", "--die", "a.npz", "-o")
    assert pimc(*run, "apart.npy").code == 0
    monkeypatch.setattr(
        lab.Rack, "reads_whole", lambda _, layer: layer.name == whole, raising=False
    )
    assert pimc(*run, "same.npy").code == 0
    assert np.array_equal(np.load("same.npy"), np.load("apart.npy"))
    monkeypatch.setattr(lab.Rack, "read_layer", read_layer, raising=False)
    assert pimc(*run, "zero.npy").code == 0
    assert seen == [whole]
    assert not np.array_equal(np.load("zero.npy"), np.load("apart.npy"))
