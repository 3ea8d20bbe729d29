"""Drivers by name: what an entry point may name, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pimc.errors import DeviceError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.drivers import open_device, require_simulator, simulates
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.door.sim_driver import SimDriver


def fails(*arguments: Any, **options: Any) -> Any:
    raise ImportError("no bench library")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs drivers by name, as entry points of other packages are."""

    def install(**found: Any) -> None:
        entries = [
            SimpleNamespace(
                name=name,
                value=f"lab:{name}",
                dist=None,
                load=fails if thing is None else lambda thing=thing: thing,
            )
            for name, thing in found.items()
        ]
        monkeypatch.setattr("pimc.files.entry_points.entry_points", lambda group: entries)

    return install


def opens(image: Image, *, die: Path | None, seed: int) -> Any:
    """A chip on a bench."""
    return SimpleNamespace(name=f"bench:{die}:{seed}")


class Simulating:
    """Chips that are made up."""

    open = staticmethod(opens)

    @staticmethod
    def simulate(image: Image, **how: Any) -> Any:
        return SimpleNamespace(name="made up", how=how)


def test_a_driver_is_a_function_a_class_or_a_module(tiny_image: Image, installed: Any) -> None:
    module = ModuleType("lab")
    module.open = opens  # type: ignore[attr-defined]  # a module made here
    installed(function=opens, class_=type("Lab", (), {"open": staticmethod(opens)}), module=module)
    for name in ("function", "class_", "module"):
        device = open_device(name, tiny_image, die=Path("tcp:1"), seed=3)
        assert device.name == "bench:tcp:1:3"
        assert not simulates(name)


def test_how_a_chip_is_simulated_goes_to_simulators_only(tiny_image: Image, installed: Any) -> None:
    installed(bench=opens, lab=Simulating)
    how = {"die": None, "seed": 2, "ir_drop": "first", "processor": "cpu", "converters": True}
    device: Any = open_device("lab", tiny_image, seed=2)
    assert device.how == how
    chosen = {"ir_drop": "exact", "processor": "cuda", "converters": False}
    device = open_device("lab", tiny_image, seed=2, **chosen)  # type: ignore[arg-type]  # by case
    assert device.how == how | chosen
    with pytest.raises(UsageError, match="the simulated chip only"):
        open_device("bench", tiny_image, ir_drop="first")


def test_who_makes_chips_up(installed: Any) -> None:
    installed(bench=opens, lab=Simulating, broken=None)
    assert [name for name in ("sim", "replay", "bench", "lab") if simulates(name)] == ["sim", "lab"]
    require_simulator("lab", "--dies")
    with pytest.raises(UsageError, match="--dies draws simulated dies") as caught:
        require_simulator("bench", "--dies")
    assert caught.value.where == "--device bench"
    # One that cannot be had is no simulator; why not is said where it is opened.
    assert not simulates("gone")
    assert not simulates("broken")
    with pytest.raises(UsageError, match="no such device"):
        require_simulator("gone", "--dies")
    with pytest.raises(DeviceError, match="cannot be loaded: no bench library"):
        require_simulator("broken", "--dies")


def test_a_driver_that_fails_is_named(tiny_image: Image, installed: Any) -> None:
    installed(bench=fails)
    with pytest.raises(DeviceError, match="failed to open: no bench library") as caught:
        open_device("bench", tiny_image)
    assert caught.value.where == "bench"


def test_too_little_memory_is_no_fault_of_the_driver(tiny_image: Image, installed: Any) -> None:
    def greedy(image: Image, **options: Any) -> Any:
        raise MemoryError

    installed(bench=greedy)
    with pytest.raises(MemoryError):
        open_device("bench", tiny_image)


def test_a_file_that_changes_while_it_is_read_is_not_written_over(
    tiny_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "held.die"
    device = SimDriver.simulate(tiny_image, die=file, seed=7)
    assert isinstance(device, SimDevice)
    device.save(file)
    load = Die.load

    def late(path: Path) -> Die:
        """The die as it was before another process aged it."""
        old, other = load(path), load(path)
        other.age(3600)
        other.save(path)
        return old

    monkeypatch.setattr(Die, "load", late)
    reading = SimDriver.simulate(tiny_image, die=file)
    assert isinstance(reading, SimDevice)
    with pytest.raises(DeviceError, match="another process wrote it meanwhile"):
        reading.save(file)
    assert load(file).clock_s == 3600
