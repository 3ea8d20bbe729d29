"""A driver's device behind checks: faults are named, what is sound is not copied."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.errors import DeviceError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door import drivers
from pimc.runtime.door.capture_file import Capture
from pimc.runtime.door.checked import checked
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import Journal, program
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.runtime.door.faulty import (
    AS_GOOD,
    FAULTS,
    READ,
    SOUND,
    TOOK,
    Fault,
    Faulty,
    raising,
)


def sim(image: Image, seed: int = 3) -> SimDevice:
    return SimDevice(Die.simulated(seed), image.chip, image.arrays, read_seed=seed)


def programmed(image: Image, seed: int = 3) -> SimDevice:
    device = sim(image, seed)
    program(image, device)
    return device


def lab(device: Any, image: Image) -> Any:
    return checked(device, "lab", image.chip)


def use(device: Device, image: Image, inputs: np.ndarray) -> np.ndarray:
    """All that commands ask of a device."""
    program(image, device)
    assert device.name
    (found,) = Session(image, die=device).run(None, {"x": inputs})
    return np.asarray(found)


# --- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_fault_is_named(tiny_image, tiny_inputs, monkeypatch, fault: Fault) -> None:
    def opens(image: Image, *, die: Path | None, seed: int) -> Faulty:
        return Faulty(sim(image), fault)

    monkeypatch.setitem(drivers._BUILT_IN, "lab", opens)
    with pytest.raises(DeviceError) as caught:
        use(open_device("lab", tiny_image), tiny_image, tiny_inputs)
    assert caught.value.where == "driver lab"
    assert caught.value.message.startswith(f"{fault.call}: ")
    assert re.search(fault.told, caught.value.message)
    assert "\n" not in caught.value.message
    # A MemoryError of the driver must not pass for one of this process.
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("fault", [SOUND, *AS_GOOD], ids=str)
def test_what_is_as_good_gives_the_same(tiny_image, tiny_inputs, fault: Fault) -> None:
    # The die's own layers are read the way a driver's are: vector by vector.
    wanted = use(Faulty(sim(tiny_image)), tiny_image, tiny_inputs)
    found = use(lab(Faulty(sim(tiny_image), fault), tiny_image), tiny_image, tiny_inputs)
    np.testing.assert_array_equal(found, wanted)


def test_all_zero_is_legal(tiny_image, tiny_inputs) -> None:
    zero = Fault("read", "zero", lambda codes: codes * 0, "")
    found = use(lab(Faulty(sim(tiny_image), zero), tiny_image), tiny_image, tiny_inputs)
    assert np.isfinite(found).all()


def test_a_name_is_asked_twice_at_the_beginning_and_again_each_time(tiny_image) -> None:
    changing = next(fault for fault in FAULTS if str(fault) == "name changes")
    with pytest.raises(DeviceError, match=r"gave 'lab7\d+', and 'lab7\d+' before"):
        lab(Faulty(sim(tiny_image), changing), tiny_image)
    device = lab(Faulty(sim(tiny_image), changing, after=3), tiny_image)
    assert device.name == "lab7"
    with pytest.raises(DeviceError, match="and 'lab7' before"):
        assert device.name


def test_ctrl_c_and_errors_as_the_protocol_has_them_are_left_alone(tiny_image) -> None:
    own = DeviceError("the chip does not answer", where="bench 3")
    for error in (KeyboardInterrupt(), own):
        device = lab(Faulty(sim(tiny_image), Fault("read", "", raising(error), "")), tiny_image)
        region = Region.of(tiny_image, tiny_image.layers[0])
        with pytest.raises(type(error)) as caught:
            device.read(region, torch.zeros(1, *region.cells.shape[:2], 1))
        assert caught.value is error


def test_an_error_of_another_kind_keeps_what_it_says(tiny_image) -> None:
    odd = Fault("written", "", raising(UsageError("no such bench", where="x", hint="y")), "")
    with pytest.raises(DeviceError, match="written: UsageError: x: no such bench"):
        lab(Faulty(sim(tiny_image), odd), tiny_image).written(np.arange(3))


def test_what_is_no_device_is_named(tiny_image, monkeypatch) -> None:
    monkeypatch.setitem(drivers._BUILT_IN, "lab", lambda image, *, die, seed: None)
    with pytest.raises(DeviceError, match="name: AttributeError: 'NoneType'") as caught:
        open_device("lab", tiny_image)
    assert caught.value.where == "driver lab"
    half = lab(SimpleNamespace(name="half"), tiny_image)
    with pytest.raises(DeviceError, match=r"written: AttributeError: .*'written'"):
        half.written(np.arange(3))


@pytest.mark.parametrize("fault", [SystemExit(0), RuntimeError("no bench"), OSError("no bench")])
def test_a_driver_that_fails_to_open_is_named(tiny_image, monkeypatch, fault) -> None:
    def opens(image: Image, *, die: Path | None, seed: int) -> Any:
        raise fault

    monkeypatch.setitem(drivers._BUILT_IN, "lab", opens)
    with pytest.raises(DeviceError, match=r"failed to open: (no bench|SystemExit)") as caught:
        open_device("lab", tiny_image)
    assert caught.value.where == "lab"


# --- what is sound -----------------------------------------------------------------------------


def test_sound_answers_are_not_copied(tiny_image) -> None:
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    codes, ok = torch.ones(2, blocks, columns, 3), np.ones(4, np.bool_)
    levels = np.full(4, 15)
    device = lab(
        SimpleNamespace(
            name="lab",
            read=lambda region, inputs: codes,
            program=lambda cells, levels: ok,
            written=lambda cells: levels,
        ),
        tiny_image,
    )
    assert device.read(region, torch.zeros(2, blocks, rows, 3)) is codes
    assert device.program(np.arange(4), np.zeros(4, np.uint16)) is ok
    assert device.written(np.arange(4)) is levels


def test_nothing_asked_nothing_answered(tiny_image) -> None:
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    empty = torch.zeros(0, blocks, rows, 3)
    device = lab(SimpleNamespace(name="lab", read=lambda region, inputs: empty), tiny_image)
    with pytest.raises(DeviceError, match="instead of float32"):
        device.read(region, empty)
    codes = torch.zeros(0, blocks, columns, 3)
    device = lab(SimpleNamespace(name="lab", read=lambda region, inputs: codes), tiny_image)
    assert device.read(region, empty) is codes


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_the_whole_range_of_the_converter_is_taken(tiny_image, mode: str) -> None:
    from pimc.chip.converters import code_limits

    chip = tiny_image.chip.with_(**{"dac.mode": mode})
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    inputs = torch.zeros(1, blocks, rows, 1)
    for end, beyond in zip(code_limits(chip, region.signed), (-1, 1), strict=True):
        codes = torch.full((1, blocks, columns, 1), float(end))
        within = SimpleNamespace(name="lab", read=lambda *_, codes=codes: codes)
        assert checked(within, "lab", chip).read(region, inputs) is codes
        without = SimpleNamespace(name="lab", read=lambda *_, codes=codes + beyond: codes)
        with pytest.raises(DeviceError, match="the converter's are"):
            checked(without, "lab", chip).read(region, inputs)


def test_codes_without_converters_are_neither_whole_nor_limited(tiny_image, monkeypatch) -> None:
    class Lab:
        @staticmethod
        def open(image: Image, *, die: Path | None, seed: int) -> Any:
            raise AssertionError

        @staticmethod
        def simulate(image: Image, *, converters: bool, **how: Any) -> Any:
            fault = Fault("read", "", lambda codes: codes * 1000 + 0.5, "")
            return Faulty(sim(image), fault)

    monkeypatch.setitem(drivers._BUILT_IN, "lab", Lab)
    region = Region.of(tiny_image, tiny_image.layers[0])
    inputs = torch.ones(1, *region.cells.shape[:2], 1)
    found = open_device("lab", tiny_image, converters=False).read(region, inputs)
    assert (found % 1 == 0.5).all()
    with pytest.raises(DeviceError, match="read: gave codes"):
        open_device("lab", tiny_image).read(region, inputs)


# --- who is checked ----------------------------------------------------------------------------


def test_what_pimc_brings_itself_is_not_checked(tiny_image, tmp_path) -> None:
    assert type(open_device("sim", tiny_image)) is SimDevice
    path = tmp_path / "a.pimccap"
    Capture(tiny_image.sha256, "sim:3", {}, {}).save(path)
    assert type(open_device("replay", tiny_image, die=path)) is ReplayDevice


# --- cut and resumed ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("fault", [TOOK[0], FAULTS[0]], ids=str)
def test_programming_cut_by_a_fault_resumes_to_the_same_die(
    tiny_image, tmp_path, fault: Fault, after: int
) -> None:
    assert tiny_image.arrays >= 3
    whole, cut = programmed(tiny_image), sim(tiny_image)
    bad = lab(Faulty(cut, fault, after=after), tiny_image)
    journal = Journal(tmp_path / "journal", tiny_image, bad)
    with pytest.raises(DeviceError), journal.open(resume=False) as done:
        program(tiny_image, bad, done=done)
    good = lab(Faulty(cut), tiny_image)
    journal = Journal(tmp_path / "journal", tiny_image, good)
    assert journal.finished() == frozenset(range(after))
    with journal.open(resume=True) as done:
        program(tiny_image, good, skip=journal.finished(), done=done)
    for name, value in vars(whole.die.cells).items():
        np.testing.assert_array_equal(getattr(cut.die.cells, name), value, err_msg=name)


def test_a_fault_in_one_read_leaves_the_next_ones_as_they_were(tiny_image, tiny_inputs) -> None:
    inner = programmed(tiny_image)
    bad = Session(tiny_image, die=lab(Faulty(inner, READ[0], after=1), tiny_image))
    with pytest.raises(DeviceError, match="not finite"):
        bad.run(None, {"x": tiny_inputs})
    bad.device.inner.restore(programmed(tiny_image).state())  # type: ignore[attr-defined]  # the fake has it
    good = Session(tiny_image, die=lab(Faulty(inner), tiny_image))
    wanted = Session(tiny_image, die=Faulty(programmed(tiny_image)))
    np.testing.assert_array_equal(
        good.run(None, {"x": tiny_inputs})[0], wanted.run(None, {"x": tiny_inputs})[0]
    )
