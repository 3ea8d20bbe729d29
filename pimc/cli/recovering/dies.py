"""The dies that ``pimc capture`` and ``pimc recover`` read, and the data they are read with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.door.device import Device
    from pimc.runtime.physics.ir_drop import Method
    from pimc.runtime.session import NodeArg

__all__ = ["CALIB_HELP", "inputs_for", "opened", "programmed"]

CALIB_HELP = "Calibration data; labels are not used. A folder may also hold captures."


def inputs_for(image: Image) -> list[NodeArg]:
    """The network's inputs.

    Raises:
        UsageError: it takes a fixed number of samples.
    """
    from pimc.data.inputs import free_inputs
    from pimc.runtime.session import inputs_of

    found = inputs_of(image)
    free_inputs(found)
    return found


def programmed(
    image: Image, driver: str, die: Path | None, seed: int, ir_drop: Method | None = None
) -> Device:
    """The device, holding the image; a die that is only now drawn is written first.

    Raises:
        UsageError: it does not hold the image, or there is no such die file.
    """
    from pimc.runtime.door.drivers import require_programmed

    device = opened(image, driver, die, seed, ir_drop)
    require_programmed(image, device)
    return device


def opened(
    image: Image, driver: str, die: Path | None, seed: int, ir_drop: Method | None = None
) -> Device:
    """The device, whatever it holds; a die that is only now drawn is written first.

    Raises:
        UsageError: there is no such die file.
    """
    from pimc.errors import UsageError
    from pimc.runtime.door.drivers import open_device, simulates
    from pimc.runtime.door.program import program

    simulated = simulates(driver)
    if die is not None and simulated and not die.exists():
        raise UsageError(
            "no such file", where=str(die), hint="make a programmed die with `pimc program --die`"
        )
    device = open_device(driver, image, die=die, seed=seed, ir_drop=ir_drop)
    if die is None and simulated:
        program(image, device)
    return device
