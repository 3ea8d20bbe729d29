"""Endurance: how often cells were written, and which of them endure no further write.

A chip says how many writes a cell endures (``programming.endurance_writes``). Of a device
without the ability :class:`~pimc.runtime.door.abilities.CountsWrites` only those writes are known
that the caller did itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.errors import DeviceError
from pimc.runtime.door.abilities import CountsWrites
from pimc.runtime.door.device import Device

__all__ = ["NONE", "require_endurance", "worn", "worn_out"]

Ints = npt.NDArray[np.int64]
#: No cells.
NONE: Ints = np.zeros(0, np.int64)


def worn(
    device: Device | None, cells: Ints, limit: int, before: Ints = NONE
) -> npt.NDArray[np.bool_]:
    """Which cells were written as often as a cell endures.

    Args:
        device: the chip; None where there is none at hand.
        cells: addresses, any shape; negative ones are none.
        limit: writes that a cell endures.
        before: addresses of cells that the caller has written, once a write; they count where the
            device does not.

    Raises:
        DeviceError: the chip does not answer.
    """
    if isinstance(device, CountsWrites):
        count = device.times_written(np.maximum(cells, 0))
    else:
        address, times = np.unique(before, return_counts=True)
        at = np.minimum(np.searchsorted(address, cells), max(len(address) - 1, 0))
        count = (
            np.where(address[at] == cells, times[at], 0) if len(address) else np.zeros_like(cells)
        )
    tired: npt.NDArray[np.bool_] = (cells >= 0) & (count >= limit)
    return tired


def require_endurance(device: Device, cells: Ints, limit: int, before: Ints = NONE) -> None:
    """Make sure that cells endure a write; arguments as for :func:`worn`.

    Raises:
        DeviceError: some do not.
    """
    if count := int(worn(device, cells, limit, before).sum()):
        raise worn_out(device, count, len(cells), limit)


def worn_out(device: Device, count: int, total: int, limit: int) -> DeviceError:
    """The error that ``count`` of ``total`` cells to be written endure no further write."""
    had = "1 write" if limit == 1 else f"{limit:,} writes"
    return DeviceError(
        f"{count:,} of {total:,} cells to be written have had {had}, which is all that a cell of "
        "this chip endures (programming.endurance_writes)",
        where=device.name,
        hint="take another die, or recover without writing cells (--rounds 0)",
    )
