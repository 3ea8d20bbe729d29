"""The cells of one layer, as a device is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.work.parts import parts

Addresses = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Region:
    """The cells of one layer, read together.

    Attributes:
        name: the layer.
        addresses: of the cells, or what works them out: they take eight bytes a cell.
        lsb_us: current of one ADC code, µS times DAC code: one number, or (blocks, columns).
        signed: the layer's inputs may be negative.
    """

    name: str
    addresses: Addresses | Callable[[], Addresses] = field(repr=False)
    lsb_us: float | npt.NDArray[np.float32]
    signed: bool

    @staticmethod
    def of(image: Image, layer: ImageLayer) -> Region:
        """The region of one layer of an image."""
        return Region(layer.name, partial(image.cells, layer), layer.lsb_us, layer.input_signed)

    @property
    def cells(self) -> Addresses:
        """(blocks, rows, columns) addresses ``(array · array_rows + wordline) · array_cols +
        bitline``; −1 where a block has no cell. A block's columns may lie in several arrays; its
        rows get the same inputs in each.

        Those of an image are worked out whenever they are asked for. Drivers that read the same
        region again and again keep what they make of them.
        """
        return self.addresses() if callable(self.addresses) else self.addresses

    @cached_property
    def number(self) -> int:
        """A number that no other region of a die has: the address of its first cell."""
        return int(self.cells.flat[0])

    @cached_property
    def columns(self) -> int:
        """Columns of a block."""
        return int(self.cells.shape[2])

    def parts(self, most: int) -> Iterator[Region]:
        """Some blocks after others, at most so many cells at once, but one block at least.

        All that holds of a block's cells is found among them.
        """
        cells = self.cells
        for some in parts(len(cells), cells[:1].size, most):
            yield replace(self, addresses=cells[some])
