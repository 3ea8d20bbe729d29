"""The cells of one layer, as a device is asked for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer


@dataclass(frozen=True, eq=False)
class Region:
    """The cells of one layer, read together.

    Attributes:
        name: the layer.
        cells: (blocks, rows, columns) addresses ``(array · array_rows + wordline) ·
            array_cols + bitline``; −1 where a block has no cell. A block's columns may lie
            in several arrays; its rows get the same inputs in each.
        lsb_us: current of one ADC code, µS times DAC code: one number, or (blocks, columns).
        signed: the layer's inputs may be negative.
    """

    name: str
    cells: npt.NDArray[np.int64] = field(repr=False)
    lsb_us: float | npt.NDArray[np.float32]
    signed: bool

    @staticmethod
    def of(image: Image, layer: ImageLayer) -> Region:
        """The region of one layer of an image."""
        return Region(layer.name, image.cells(layer), layer.lsb_us, layer.input_signed)

    @property
    def number(self) -> int:
        """A number that no other region of a die has: the address of its first cell."""
        return int(self.cells.flat[0])
