"""Drivers by name: what is installed, and how one is opened.

An entry point of the group ``pimc.devices`` names a factory

    open(image: Image, *, die: Path | None, seed: int) -> Device

or a class with a static method ``open`` of this signature. ``die`` is the path a user gave
with ``--die``; what it means is the driver's business (a die file, an address of a bench).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pimc.errors import DeviceError, PimcError, UsageError
from pimc.files.entry_points import Extensions
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.device import ENTRY_POINT_GROUP, Device
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.disturb import disturbs
from pimc.runtime.physics.ir_drop import Method

__all__ = [
    "DeviceInfo",
    "devices",
    "flush",
    "keep_disturb",
    "observer",
    "open_device",
    "open_replay",
    "open_sim",
    "require_programmed",
]

Factory = Callable[..., Device]


class DeviceInfo(NamedTuple):
    """One installed driver."""

    name: str
    description: str
    available: bool


def open_sim(
    image: Image,
    *,
    die: Path | None = None,
    seed: int = 0,
    ir_drop: Method = "first",
    processor: str = "cpu",
) -> SimDevice:
    """A simulated die, kept in a die file.

    The one in the file ``die`` if there is one, else a new one of ``seed``, which is the seed
    of the read noise too.

    Raises:
        DeviceError: the die file is damaged, or its die is one of another chip.
    """
    specimen = Die.load(die) if die is not None and die.exists() else Die.simulated(seed)
    return SimDevice(
        specimen, image.chip, image.arrays, read_seed=seed, ir_drop=ir_drop, device=processor
    )


def open_replay(image: Image, *, die: Path | None = None, seed: int = 0) -> Device:
    """A capture file in place of a chip: answers reads that it holds, and no others."""
    from pimc.runtime.door.replay import (
        ReplayDevice,  # brings sessions along, which most do not need
    )

    return ReplayDevice.open(image, die=die, seed=seed)


#: Drivers of our own, which need no installed metadata to be found.
_BUILT_IN: dict[str, Factory] = {"sim": open_sim, "replay": open_replay}
_DRIVERS = Extensions(ENTRY_POINT_GROUP, "device", _BUILT_IN, loaded="driver", broken=DeviceError)


def open_device(
    name: str,
    image: Image,
    *,
    die: Path | None = None,
    seed: int = 0,
    ir_drop: Method | None = None,
    processor: str = "cpu",
) -> Device:
    """The device that driver ``name`` gives for an image.

    Args:
        ir_drop: how a simulated chip's wires are taken into account; others have real ones.
        processor: what torch computes a simulated chip on.

    Raises:
        UsageError: no driver of this name is installed, or ``ir_drop`` is given to a real chip.
        DeviceError: the driver cannot be loaded, or the device cannot be reached.
    """
    if ir_drop is not None and name != "sim":
        raise UsageError("IR drop is worked out for the simulated chip only", where=name)
    factory = _factory(name)
    try:
        if name == "sim":
            how = ir_drop or "first"
            return open_sim(image, die=die, seed=seed, ir_drop=how, processor=processor)
        return factory(image, die=die, seed=seed)
    except PimcError:
        raise
    except Exception as cause:
        raise DeviceError(
            f"the driver failed to open: {cause or type(cause).__name__}", where=name
        ) from cause


def observer(device: Device, seed: int) -> Device:
    """The same chip for looking on: a simulated one with read noise of its own, and no wear."""
    if not isinstance(device, SimDevice):
        return device
    return device.observer(seed + 1)


def flush(device: Device, die: Path | None) -> None:
    """Make what was written last: save a simulated die; a real chip keeps its cells by itself.

    Raises:
        UsageError: the die file cannot be written.
    """
    if isinstance(device, SimDevice) and die is not None:
        device.die.save(die)


def keep_disturb(device: Device, die: Path | None) -> None:
    """Save what reads changed in a simulated die, where its chip says that they change anything.

    Raises:
        UsageError: the die file cannot be written.
    """
    if isinstance(device, SimDevice) and disturbs(device.chip):
        flush(device, die)


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
            hint="write it first with `pimc program`",
        )


def devices() -> list[DeviceInfo]:
    """All drivers by name, with those that cannot be loaded."""
    return [_info(name) for name in sorted(_DRIVERS.names())]


def _info(name: str) -> DeviceInfo:
    try:
        return DeviceInfo(name, _first_line(_DRIVERS.load(name)), True)
    except DeviceError as cause:
        return DeviceInfo(name, cause.message.removeprefix("the driver "), False)


def _factory(name: str) -> Factory:
    loaded = _DRIVERS.load(name)
    factory: Factory = getattr(loaded, "open", loaded)
    return factory


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
