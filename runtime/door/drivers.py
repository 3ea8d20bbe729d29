"""Drivers by name: what is installed, and how one is opened.

An entry point of the group ``pimc.devices`` names a :class:`~pimc.runtime.door.device.Driver`: a
class with a static method ``open``, a module with a function of that name, or the function alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pimc.errors import DeviceError, PimcError, UsageError
from pimc.files.entry_points import Extensions
from pimc.image.image import Image
from pimc.runtime.door.abilities import Simulator
from pimc.runtime.door.checked import checked
from pimc.runtime.door.device import ENTRY_POINT_GROUP, Device, Driver
from pimc.runtime.door.foreign import on_stderr, said
from pimc.runtime.door.program import program
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.door.sim_driver import SimDriver
from pimc.runtime.physics.ir_drop import Method

__all__ = [
    "DeviceInfo",
    "devices",
    "driver_named",
    "open_device",
    "opened",
    "require_programmed",
    "require_simulator",
    "simulates",
]

#: A driver that is a function alone.
Opens = Callable[..., Device]


class DeviceInfo(NamedTuple):
    """One installed driver."""

    name: str
    description: str
    available: bool


#: Drivers of our own, which need no installed metadata to be found.
_BUILT_IN: dict[str, Driver | Opens] = {"sim": SimDriver, "replay": ReplayDevice}
_DRIVERS = Extensions(ENTRY_POINT_GROUP, "device", _BUILT_IN, loaded="driver", broken=DeviceError)
#: Those whose devices need no checks; a recording gives means of codes, which are not whole.
_OWN = tuple(_BUILT_IN.values())


def open_device(
    name: str,
    image: Image,
    *,
    die: Path | None = None,
    seed: int = 0,
    ir_drop: Method | None = None,
    processor: str = "cpu",
    converters: bool = True,
) -> Device:
    """The device that driver ``name`` gives for an image.

    That of another package comes behind a proxy that checks its answers
    (:mod:`pimc.runtime.door.checked`).

    Args:
        ir_drop: how a simulated chip's wires are taken into account; others have real ones.
        processor, converters: of a simulated chip; see
            :class:`~pimc.runtime.door.abilities.Simulator`.

    Raises:
        UsageError: no driver of this name is installed, or ``ir_drop`` is given to a real chip.
        DeviceError: the driver cannot be loaded, or the device cannot be reached.
    """
    driver = driver_named(name)
    simulator = driver if isinstance(driver, Simulator) else None
    if ir_drop is not None and simulator is None:
        raise UsageError("IR drop is worked out for the simulated chip only", where=name)
    try:
        with on_stderr():
            device = (
                driver.open(image, die=die, seed=seed)
                if simulator is None
                else simulator.simulate(
                    image,
                    die=die,
                    seed=seed,
                    ir_drop=ir_drop or "first",
                    processor=processor,
                    converters=converters,
                )
            )
    except (PimcError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as cause:
        raise DeviceError(f"the driver failed to open: {said(cause)}", where=name) from cause
    if driver in _OWN:
        return device
    return checked(device, name, image.chip, converters=simulator is None or converters)


def driver_named(name: str) -> Driver:
    """The driver of this name.

    Raises:
        UsageError: none of this name is installed.
        DeviceError: it cannot be loaded.
    """
    with on_stderr():
        found = _DRIVERS.load(name)
    return found if hasattr(found, "open") else _Function(found)


def simulates(name: str) -> bool:
    """Whether driver ``name`` makes its dies up; one that cannot be had says so when opened."""
    try:
        return isinstance(driver_named(name), Simulator)
    except PimcError:
        return False


def opened(
    image: Image, driver: str, die: Path | None, seed: int, ir_drop: Method | None = None
) -> Device:
    """The device, whatever it holds; a die that is only now drawn is written first.

    Raises:
        UsageError: there is no such die file.
    """
    require_die(driver, die)
    device = open_device(driver, image, die=die, seed=seed, ir_drop=ir_drop)
    if die is None and simulates(driver):
        program(image, device)
    return device


def require_die(driver: str, die: Path | None) -> None:
    """Make sure that a die is there which a driver reads from a file; none is, too.

    Raises:
        UsageError: there is no such file.
    """
    if die is not None and not die.exists() and simulates(driver):
        raise UsageError(
            "no such file", where=str(die), hint="make a programmed die with `pimc program --die`"
        )


def require_simulator(name: str, option: str) -> None:
    """Make sure that driver ``name`` makes its dies up, as ``option`` needs it.

    Raises:
        UsageError: it opens a chip that there is, or there is no such driver.
        DeviceError: the driver cannot be loaded.
    """
    if not isinstance(driver_named(name), Simulator):
        raise UsageError(
            f"{option} draws simulated dies, and this driver opens a chip that there is",
            where=f"--device {name}",
            hint=f"leave out {option}",
        )


def require_programmed(image: Image, device: Device) -> None:
    """Make sure that a device was asked to hold an image.

    Raises:
        UsageError: some cells were asked to hold something else, or nothing.
    """
    cells = np.flatnonzero(image.used)
    missing = int((device.written(cells) != image.levels.reshape(-1)[cells]).sum())
    if missing:
        raise UsageError(
            f"{missing:,} of {len(cells):,} cells do not hold this image",
            where=device.name,
            hint="write it with `pimc program`; a chip that was recovered holds the next image",
        )


def devices() -> list[DeviceInfo]:
    """All drivers by name, with those that cannot be loaded."""
    return [_info(name) for name in sorted(_DRIVERS.names())]


def _info(name: str) -> DeviceInfo:
    try:
        with on_stderr():
            found = _DRIVERS.load(name)
        return DeviceInfo(name, _first_line(found), True)
    except DeviceError as cause:
        return DeviceInfo(name, cause.message.removeprefix("the driver "), False)


@dataclass(frozen=True)
class _Function:
    """A driver that is a function alone."""

    open: Opens


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
