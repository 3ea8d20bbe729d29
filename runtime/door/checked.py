"""A laboratory's device behind a proxy that looks at every answer and names who failed.

The proxy has the abilities that the device has. What no protocol knows of is passed on as it is,
so that a laboratory's own program can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import code_limits
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import ImageLayer
from pimc.runtime.die.region import Region
from pimc.runtime.door import abilities, answers
from pimc.runtime.door.device import Device, Saturation
from pimc.runtime.door.foreign import Calls
from pimc.runtime.read.digital_side import DigitalSide

if TYPE_CHECKING:
    import torch

__all__ = ["checked"]


def checked(device: object, driver: str, chip: Chip, *, converters: bool = True) -> Device:
    """The same device, every call of which is checked; it has the same abilities.

    Args:
        driver: the name of its driver.
        chip: the design of what the device holds.
        converters: False for a simulation without the ADC, whose codes are not whole.

    Raises:
        DeviceError: the device has no name, or not the same when asked twice.
    """
    calls = Calls(driver)
    with calls("open"):
        parts = [part for ability, part in _PARTS.items() if isinstance(device, ability)]
    kind = type("Checked", (*parts, _Checked), {})
    made: Device = kind(device, calls, chip, converters)
    return made


class _Checked:
    """What every device has; see :class:`~pimc.runtime.door.device.Device`.

    Attributes:
        _device: what the driver gave, whatever that is.
    """

    def __init__(self, device: Any, calls: Calls, chip: Chip, converters: bool) -> None:
        self._device = device
        self._calls = calls
        self._chip = chip
        self._converters = converters
        with calls("name"):
            self._name = device.name
            answers.name(device.name, self._name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of this object's own, before it is set up
            raise AttributeError(name)
        with self._calls(name, AttributeError):
            return getattr(self._device, name)

    @property
    def name(self) -> str:
        with self._calls("name"):
            return answers.name(self._device.name, self._name)

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        with self._calls("program"):
            return answers.took(self._device.program(cells, levels), len(cells))

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        with self._calls("written"):
            found = self._device.written(cells)
            return answers.written(found, len(cells), self._chip.cell.levels)

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        limits = code_limits(self._chip, region.signed) if self._converters else None
        with self._calls("read"):
            return answers.codes(self._device.read(region, inputs), region, inputs, limits)


class _ReadsLayers(_Checked):
    """See :class:`~pimc.runtime.door.abilities.ReadsLayers`."""

    def reads_whole(self, layer: ImageLayer) -> bool:
        with self._calls("reads_whole"):
            return answers.yes_or_no(self._device.reads_whole(layer))

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor:
        with self._calls("read_layer"):
            return answers.outputs(self._device.read_layer(region, layer, x, side), layer, x)


class _Rectifies(_Checked):
    """See :class:`~pimc.runtime.door.abilities.Rectifies`."""

    @property
    def rectifies(self) -> bool:
        with self._calls("rectifies"):
            return answers.yes_or_no(self._device.rectifies)


class _Observable(_Checked):
    """See :class:`~pimc.runtime.door.abilities.Observable`."""

    def observer(self, read_seed: int) -> Device:
        with self._calls("observer"):
            found = self._device.observer(read_seed)
        return checked(found, self._calls.driver, self._chip, converters=self._converters)


class _Savable(_Checked):
    """See :class:`~pimc.runtime.door.abilities.Savable`."""

    @property
    def reads_change(self) -> bool:
        with self._calls("reads_change"):
            return answers.yes_or_no(self._device.reads_change)

    def save(self, path: Path) -> None:
        with self._calls("save", UsageError):
            self._device.save(path)


class _Resumable(_Checked):
    """See :class:`~pimc.runtime.door.abilities.Resumable`."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        with self._calls("state"):
            return answers.state(self._device.state())

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        with self._calls("restore"):
            self._device.restore(state)


class _Ageable(_Checked):
    """See :class:`~pimc.runtime.door.abilities.Ageable`."""

    def age(self, seconds: float) -> None:
        with self._calls("age", UsageError):
            self._device.age(seconds)


class _TellsAge(_Checked):
    """See :class:`~pimc.runtime.door.abilities.TellsAge`."""

    @property
    def age_s(self) -> float:
        with self._calls("age_s"):
            return answers.age(self._device.age_s)


class _CountsReads(_Checked):
    """See :class:`~pimc.runtime.door.abilities.CountsReads`."""

    @property
    def reads(self) -> int:
        with self._calls("reads"):
            return answers.count(self._device.reads)


class _CountsWrites(_Checked):
    """See :class:`~pimc.runtime.door.abilities.CountsWrites`."""

    def times_written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        with self._calls("times_written"):
            return answers.times(self._device.times_written(cells), cells.shape)


class _CountsSaturation(_Checked):
    """See :class:`~pimc.runtime.door.abilities.CountsSaturation`."""

    @property
    def saturation(self) -> Mapping[str, Saturation]:
        with self._calls("saturation"):
            return answers.saturation(self._device.saturation)


#: The part of the proxy that stands for an ability.
_PARTS: Mapping[Any, type[_Checked]] = {
    abilities.ReadsLayers: _ReadsLayers,
    abilities.Rectifies: _Rectifies,
    abilities.Observable: _Observable,
    abilities.Savable: _Savable,
    abilities.Resumable: _Resumable,
    abilities.Ageable: _Ageable,
    abilities.TellsAge: _TellsAge,
    abilities.CountsReads: _CountsReads,
    abilities.CountsWrites: _CountsWrites,
    abilities.CountsSaturation: _CountsSaturation,
}
