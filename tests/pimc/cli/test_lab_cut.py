"""A laboratory's chip whose recovery was cut: what became of the writes, and where it goes on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.data.dataset import load_data
from pimc.errors import DeviceError, UsageError
from pimc.image.image import Image
from pimc.runtime.door import drivers
from pimc.runtime.door.drivers import require_programmed
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy
from tests.pimc.cli.lab import PROGRAM, QUICK, rack


@pytest.fixture
def image(noisy_reads: Image) -> Image:
    return noisy_reads


@pytest.fixture
def failing(lab, monkeypatch) -> Callable[..., Any]:
    """Racks that fail at their call of ``program`` with this number, within a block."""

    def patched(number: int) -> Any:
        calls: list[int] = []

        def program(self: Any, *arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == number:
                raise DeviceError("the supply is off", where=self.name)
            return self.uncut(*arguments)

        patch = pytest.MonkeyPatch()
        patch.setattr(lab.Rack, "uncut", lab.Rack.program, raising=False)
        patch.setattr(lab.Rack, "program", program)
        return patch

    return patched


def test_writes_that_were_lost_are_not_counted_as_done(pimc, image, without, failing) -> None:
    """The cut leaves the file that is saved at the end only, and a checkpoint that knows better."""
    without("Resumable")
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")
    cells = Path("a.npz").read_bytes()
    recover = (*QUICK, "--device", "bare", "--die", "a.npz")
    patch = failing(2)
    assert pimc(*recover).code == 3
    patch.undo()
    assert Path("a.npz").read_bytes() == cells
    kept = Path("tiny.r1.recovery").read_bytes()
    done = pimc(*recover, "--resume")
    assert done.code == 2
    assert "cells do not hold what this recovery has written" in done.err
    assert "recover without --resume" in done.err
    assert not Path("tiny.r1.pimc").exists()
    assert Path("tiny.r1.recovery").read_bytes() == kept
    # Nothing was lost before the first write.
    assert pimc(*recover).code == 0
    Path("a.npz").write_bytes(cells)
    patch = failing(1)
    assert pimc(*recover, "-o", "b.pimc").code == 3
    patch.undo()
    assert pimc(*recover, "-o", "b.pimc", "--resume").code == 0


@pytest.mark.parametrize("number", [1, 2])
def test_a_chip_that_keeps_its_cells_goes_on_where_it_was_cut(
    pimc, image, lab, failing, monkeypatch, number: int
) -> None:
    attached = rack(lab, image)
    for member in ("save", "state", "restore"):
        monkeypatch.delattr(lab.Rack, member)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)
    recover = (*QUICK, "--device", "bench", "--data", "data", "--json")
    patch = failing(number)
    done = pimc(*recover)
    assert (done.code, "go on with --resume" in done.err) == (3, True)
    patch.undo()
    done = pimc(*recover, "--resume")
    assert done.code == 0, done.err
    require_programmed(Image.load("tiny.r1.pimc"), attached)
    # What cannot be measured any more stands in the checkpoint.
    as_it_was = Session(image, die=rack(lab, image).observer(1))
    labelled = load_data("data", role="test")
    assert done.json["accuracy_before"] == [accuracy(as_it_was, labelled)]
    assert done.json["accuracy_after"][0] > 0.5


def test_the_accuracy_before_is_of_the_data_that_it_was_measured_on(
    pimc, image, lab, failing, monkeypatch
) -> None:
    chips = [rack(lab, image)]
    for member in ("save", "state", "restore"):
        monkeypatch.delattr(lab.Rack, member)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: chips[-1])
    recover = (*QUICK, "--device", "bench")
    patch = failing(2)
    assert pimc(*recover, "--data", "data").code == 3
    patch.undo()
    held, kept = copy.deepcopy(chips[0]), Path("tiny.r1.recovery").read_bytes()
    with np.load("data/test.npz") as data:
        np.savez("fewer.npz", x=data["x"][:50], y=data["y"][:50])
    for data, known in ((("--data", "fewer.npz"), False), ((), False), (("--data", "data"), True)):
        chips.append(copy.deepcopy(held))
        Path("tiny.r1.recovery").write_bytes(kept)
        done = pimc(*recover, *data, "--resume", "--json")
        assert done.code == 0, done.err
        assert (done.json["accuracy_before"] != [None]) is known


def test_a_die_that_was_saved_before_the_cut_keeps_its_accuracy(
    pimc, image, lab, monkeypatch
) -> None:
    """The cut comes when all is written, before the checkpoint is gone."""
    from pimc.cli.recovering import recover as module

    recover = (*QUICK, "--device", "rack", "--die", "a.npz", "--data", "data", "--json")
    pimc(*PROGRAM, "--device", "rack", "--die", "a.npz")

    def cut(checkpoints: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_remove", cut)
        assert pimc(*recover).code == 130
    report = json.loads(Path("tiny.r1.report.json").read_text())
    done = pimc(*recover, "--resume")
    assert done.code == 0, done.err
    assert done.json["accuracy_before"] == [report["accuracy_before"]]


def test_a_full_disk_loses_no_recovery_of_a_chip_that_was_written(
    pimc, image, lab, monkeypatch
) -> None:
    from pimc.cli.recovering import recover as module

    attached = rack(lab, image)
    for member in ("save", "state", "restore"):
        monkeypatch.delattr(lab.Rack, member)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)

    def full(*arguments: Any) -> None:
        raise UsageError("cannot be written: No space left on device", "tiny.r1.pimc")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_files", full)
        done = pimc(*QUICK, "--device", "bench")
    assert (done.code, "go on with --resume" in done.err) == (2, True)
    assert Path("tiny.r1.recovery").exists()
    done = pimc(*QUICK, "--device", "bench", "--resume")
    assert done.code == 0, done.err
    require_programmed(Image.load("tiny.r1.pimc"), attached)
    assert not Path("tiny.r1.recovery").exists()


def test_a_recovery_that_begins_anew_needs_the_image_on_the_chip(
    pimc, image, lab, failing, monkeypatch
) -> None:
    attached = rack(lab, image)
    monkeypatch.delattr(lab.Rack, "save")
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)
    patch = failing(2)
    assert pimc(*QUICK, "--device", "bench").code == 3
    patch.undo()
    kept = Path("tiny.r1.recovery").read_bytes()
    for more in ((), ("--resume", "-o", "other.pimc")):  # of which there is no checkpoint
        done = pimc(*QUICK, "--device", "bench", *more)
        assert (done.code, "cells do not hold this image" in done.err) == (2, True)
        # To write the image would undo what was written.
        assert ("(tiny.r1.recovery): add --resume" in done.err) is (more == ())
        assert ("pimc program" in done.err) is (more != ())
    assert Path("tiny.r1.recovery").read_bytes() == kept
    assert pimc(*QUICK, "--device", "bench", "--resume").code == 0


def test_a_chip_that_another_program_wrote_is_refused(
    pimc, image, lab, failing, monkeypatch
) -> None:
    attached = rack(lab, image)
    for member in ("save", "state", "restore"):
        monkeypatch.delattr(lab.Rack, member)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)
    patch = failing(2)
    assert pimc(*QUICK, "--device", "bench").code == 3
    patch.undo()
    attached._level[attached._level >= 0] ^= 1
    done = pimc(*QUICK, "--device", "bench", "--resume")
    assert (done.code, "do not hold what this recovery has written" in done.err) == (2, True)


@pytest.mark.parametrize("address", ["tcp:1", "visa://host/x", "/dev/bench/0/x"])
def test_an_address_with_slashes_has_a_journal_too(
    pimc, image, lab, failing, monkeypatch, address
) -> None:
    attached = lab.Rack(image, 0)
    monkeypatch.setitem(drivers._BUILT_IN, "bench", lambda image, *, die, seed: attached)
    monkeypatch.delattr(lab.Rack, "save")
    before = set(Path().iterdir())
    patch = failing(1)
    assert pimc(*PROGRAM, "--device", "bench", "--die", address).code == 3
    patch.undo()
    (journal,) = set(Path().iterdir()) - before
    assert journal.name.endswith(".journal")
    done = pimc(*PROGRAM, "--device", "bench", "--die", address, "--resume", "--json")
    assert (done.code, done.json["cells_written"]) == (0, int(image.used.sum()))
    assert set(Path().iterdir()) == before
