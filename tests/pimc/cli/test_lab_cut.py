"""A laboratory's chip whose recovery was cut: what became of the writes, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pimc.errors import DeviceError
from pimc.image.image import Image
from pimc.runtime.door import drivers
from pimc.runtime.door.drivers import require_programmed
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
    # The accuracy before cannot be measured any more.
    assert done.json["accuracy_before"] == [None]
    assert done.json["accuracy_after"][0] > 0.5


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
