"""The driver of the simulated chip."""

from __future__ import annotations

from pathlib import Path

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.device import Device
from pimc.runtime.door.sim import SimDevice, stamp
from pimc.runtime.physics.ir_drop import Method

__all__ = ["SimDriver", "simulated"]


class SimDriver:
    """A simulated die, kept in a die file."""

    @staticmethod
    def open(image: Image, *, die: Path | None = None, seed: int = 0) -> Device:
        """See :class:`~pimc.runtime.door.device.Driver`."""
        return SimDriver.simulate(image, die=die, seed=seed)

    @staticmethod
    def simulate(
        image: Image,
        *,
        die: Path | None = None,
        seed: int = 0,
        ir_drop: Method = "first",
        processor: str = "cpu",
        converters: bool = True,
    ) -> Device:
        """See :class:`~pimc.runtime.door.abilities.Simulator`."""
        found = None if die is None else stamp(die)
        specimen = Die.load(die) if die is not None and die.exists() else Die.simulated(seed)
        device = simulated(
            specimen,
            image,
            seed=seed,
            ir_drop=ir_drop,
            processor=processor,
            converters=converters,
        )
        if die is not None:
            device.kept_in(die, found)
        return device


def simulated(
    die: Die, image: Image, *, seed: int, ir_drop: Method, processor: str, converters: bool
) -> SimDevice:
    """A simulated die as a device for an image, which it need not hold yet.

    Args:
        seed: of the read noise.
        ir_drop, processor, converters: see :class:`~pimc.runtime.door.abilities.Simulator`.

    Raises:
        DeviceError: the die is one of another chip.
        UsageError: no such treatment of IR drop.
    """
    return SimDevice(
        die,
        image.chip,
        image.arrays,
        read_seed=seed,
        converters=converters,
        device=processor,
        ir_drop=ir_drop,
    )
