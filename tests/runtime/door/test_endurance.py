"""Cells are written as often as they endure, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.errors import DeviceError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import CountsWrites
from pimc.runtime.door.endurance import worn
from pimc.runtime.door.program import program, write
from pimc.runtime.door.sim import SimDevice


@pytest.fixture(scope="module")
def frail(tiny_model: Any, tiny_inputs: np.ndarray) -> Image:
    """An image of a chip whose cells endure two writes."""
    chip = Chip.default().with_array(16, 8).with_(**{"programming.endurance_writes": 2})
    return compile(tiny_model(), chip, calib=tiny_inputs)


def device_of(image: Image, die: Die | None = None) -> SimDevice:
    return SimDevice(die or Die.simulated(1), image.chip, image.arrays)


def other(image: Image, count: int) -> Image:
    """The image with other levels in the first ``count`` of its cells."""
    cells = np.flatnonzero(image.used)[:count]
    levels = (image.levels.reshape(-1)[cells] + 1) % image.chip.cell.levels
    return image.updated(cells=cells, levels=levels.astype(np.uint16))


def test_an_image_that_would_wear_cells_out_is_not_written(frail: Image) -> None:
    device, changed = device_of(frail), other(frail, 5)
    program(frail, device)
    assert program(changed, device).cells_written == 5
    before = device.state()
    # Its first arrays hold sound cells only, and stay untouched as well.
    third = other(frail.updated(levels=frail.levels[::-1].copy()), 3)
    third = frail.updated(levels=np.maximum(third.levels, frail.levels))
    worse = int(((third.levels != changed.levels) & frail.used).reshape(-1)
                [np.flatnonzero(frail.used)[:5]].sum())  # fmt: skip
    total = int(((third.levels != changed.levels) & frail.used).sum())
    assert 0 < worse < total
    with pytest.raises(DeviceError, match=f": {worse} of {total} cells .* 2 writes") as caught:
        program(third, device)
    assert caught.value.where == "sim:1"
    assert "--rounds 0" in str(caught.value.hint)
    assert all(np.array_equal(value, before[name]) for name, value in device.state().items())


def test_single_writes_are_counted_too(frail: Image) -> None:
    device, cells = device_of(frail), np.arange(10)
    levels = np.zeros(10, np.uint16)
    for _ in range(2):
        write(device, cells, levels, limit=2)
    with pytest.raises(DeviceError, match=": 10 of 20 cells"):
        write(device, np.arange(20), np.zeros(20, np.uint16), limit=2)
    assert device.times_written(np.arange(20)).tolist() == [2] * 10 + [0] * 10
    assert write(device, np.arange(10, 20), levels, limit=2) == 0


def test_counts_stay_with_the_die(frail: Image, tmp_path: Path) -> None:
    device = device_of(frail)
    program(frail, device)
    device.die.save(tmp_path / "a.die")
    again = device_of(frail, Die.load(tmp_path / "a.die"))
    program(other(frail, 4), again)
    with pytest.raises(DeviceError, match=": 4 of 4 cells"):
        program(frail, again)


def test_of_a_device_that_does_not_count_the_callers_writes_count() -> None:
    class Silent:
        name = "bench"

    assert isinstance(device_like := SimDevice(Die.simulated(), Chip.default(), 1), CountsWrites)
    assert not isinstance(Silent(), CountsWrites)
    cells = np.array([[3, -1], [7, 5]])
    silent: Any = Silent()
    before = np.array([7, 3, 7, 9, 7, 3])
    assert worn(silent, cells, 3, before).tolist() == [[False, False], [True, False]]
    assert worn(silent, cells, 2, before).tolist() == [[True, False], [True, False]]
    assert not worn(silent, cells, 1).any()
    assert worn(None, cells, 1, before).tolist() == [[True, False], [True, False]]
    # One that counts is asked alone.
    assert not worn(device_like, cells, 1, before).any()


def test_the_command_says_so(pimc: Any, frail: Image, here: Path) -> None:
    frail.save("a.pimc")
    other(frail, 7).save("b.pimc")
    assert pimc("program", "a.pimc", "--die", "chip.die").code == 0
    assert pimc("program", "b.pimc", "--die", "chip.die").code == 0
    held = Path("chip.die").read_bytes()
    done = pimc("program", "a.pimc", "--die", "chip.die")
    assert (done.code, done.out) == (3, "")
    assert "7 of 7 cells to be written have had 2 writes" in done.err
    assert Path("chip.die").read_bytes() == held
