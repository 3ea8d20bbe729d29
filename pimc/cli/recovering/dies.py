"""The data that ``pimc capture`` and ``pimc recover`` read dies with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pimc.data.dataset import Shape
    from pimc.image.image import Image

__all__ = ["CALIB_HELP", "shape_of"]

CALIB_HELP = "Calibration data; labels are not used. A folder may also hold captures."


def shape_of(image: Image) -> Shape:
    """The shape of the network's input."""
    from pimc.studies.evaluate import input_shape, inputs_of

    return input_shape(inputs_of(image))
