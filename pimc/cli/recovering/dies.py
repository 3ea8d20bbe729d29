"""The data that ``pimc capture`` and ``pimc recover`` read dies with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.interface import NodeArg

__all__ = ["CALIB_HELP", "inputs_for"]

CALIB_HELP = "Calibration data; labels are not used. A folder may also hold captures."


def inputs_for(image: Image) -> list[NodeArg]:
    """The network's inputs.

    Raises:
        UsageError: it takes a fixed number of samples.
    """
    from pimc.data.inputs import free_inputs
    from pimc.runtime.interface import inputs_of

    found = inputs_of(image)
    free_inputs(found)
    return found
