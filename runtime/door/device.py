"""What pimc asks of a chip, simulated or on the bench, and of the driver that opens it.

A laboratory adds its own driver by implementing :class:`Device` and registering it under
the entry-point group ``pimc.devices``. The executor does not know which one it talks to. What a
device can do besides stands in :mod:`pimc.runtime.door.abilities`; how its answers are looked at,
in :mod:`pimc.runtime.door.checked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image
from pimc.runtime.die.region import Region

if TYPE_CHECKING:
    import torch

ENTRY_POINT_GROUP = "pimc.devices"


@dataclass(frozen=True)
class Saturation:
    """How many conversions of a layer met the end of the converter's range."""

    conversions: int = 0
    clipped: int = 0

    @property
    def share(self) -> float:
        """Part of the conversions whose current lay outside the range."""
        return self.clipped / self.conversions if self.conversions else 0.0

    def __add__(self, other: Saturation) -> Saturation:
        """Both together."""
        return Saturation(self.conversions + other.conversions, self.clipped + other.clipped)


@runtime_checkable
class Device(Protocol):
    """A chip that can be programmed and read."""

    @property
    def name(self) -> str:
        """Which specimen this is, the same every time; captures carry it."""
        ...

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Ask ``cells`` (addresses, unique) to hold ``levels``; True where the write went through.

        A stuck cell is no error: it is reported False, and counted.

        Raises:
            DeviceError: the chip does not answer.
        """
        ...

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold, −1 where it never was.

        That is the level asked for, also where the write did not go through. What was asked for
        by an image of another chip is −1, too.
        """
        ...

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes.

        Args:
            region: the cells to activate.
            inputs: (batch, blocks, rows, positions) whole numbers as floats; all that a network
                input needs at once, as one entry of the batch.

        Returns:
            (batch, blocks, columns, positions) ADC codes, whole numbers as floats; of a
            bit-serial input the codes of the bit planes, shifted and added. An array of NumPy
            or integers will do.

        Raises:
            DeviceError: the chip does not answer.
        """
        ...


class Driver(Protocol):
    """What opens a device: a class or module that has this function, or the function alone."""

    def open(self, image: Image, *, die: Path | None, seed: int) -> Device:
        """The device, for an image that it holds or shall hold.

        Args:
            die: the path that a user gave with ``--die``; what it means is the driver's business.
            seed: of all that is drawn, where anything is.

        Raises:
            DeviceError: it cannot be reached.
        """
        ...
