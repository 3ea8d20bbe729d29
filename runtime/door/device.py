"""What pimc asks of a chip, simulated or on the bench.

A laboratory adds its own driver by implementing :class:`Device` and registering it under
the entry-point group ``pimc.devices``. The executor does not know which one it talks to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pimc.image.image import ImageLayer
from pimc.runtime.die.region import Region
from pimc.runtime.read.digital_side import DigitalSide

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


def saturation_of(device: Device) -> dict[str, Saturation]:
    """Saturation by layer since the device was opened; empty where it does not count it."""
    return dict(getattr(device, "saturation", {}))


@runtime_checkable
class Device(Protocol):
    """A chip that can be programmed and read.

    A device may count what it did: in an attribute ``reads`` array reads (one array activated by
    one input vector, or by one bit plane of it) so far, which captures note; in an attribute
    ``saturation`` a :class:`Saturation` a layer name.
    """

    @property
    def name(self) -> str:
        """Which specimen this is; captures carry it."""
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

        That is the level asked for, also where the write did not go through.
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
            bit-serial input the codes of the bit planes, shifted and added.

        Raises:
            DeviceError: the chip does not answer.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """A device whose state can be kept: a job that was cut goes on as if it had not been."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that later reads and writes depend on."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go back to a state of this same device.

        Raises:
            DeviceError: the state is of another one.
        """
        ...


@runtime_checkable
class LayerDevice(Protocol):
    """A device that cuts input vectors itself and adds up the codes of a layer's row blocks."""

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor | None:
        """Outputs, or sums of ADC codes, for a layer's input in the shape of the ONNX graph.

        The same as :meth:`Device.read` of the DAC codes of ``x`` and a sum over row blocks, up to
        float rounding.

        Args:
            side: how code sums become outputs; they are returned as they are if None.

        Returns:
            (samples, groups · bitlines, positions), or None where the device does not know how to
            read this layer.
        """
        ...
