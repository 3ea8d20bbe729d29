"""A chip that recovery knows only through the device protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice

#: What some devices can do.
_ABILITIES = ("read_layer", "reads_whole", "rectifies", "times_written", "age_s")


class ClosedDevice:
    """A chip behind the protocol and nothing else; keeps count of what is asked of it."""

    def __init__(self, image: Image, seed: int) -> None:
        device = SimDevice(Die.simulated(seed), image.chip, image.arrays, read_seed=seed)
        program(image, device)
        self.writes: list[tuple[int, int]] = []
        self.reads = 0
        # Closures instead of an attribute: there is no way from here to the die.
        self._call: dict[str, Callable[..., Any]] = {
            "name": lambda: device.name,
            "program": device.program,
            "written": device.written,
            "read": device.read,
        }

    def __getattr__(self, name: str) -> Any:
        if name in _ABILITIES:
            raise AttributeError(name)
        raise AssertionError(f"the recovery looked for {name!r}, which no device has")

    @property
    def name(self) -> str:
        return str(self._call["name"]())

    def program(self, cells: np.ndarray, levels: np.ndarray) -> np.ndarray:
        self.writes += zip(cells.tolist(), levels.tolist(), strict=True)
        return np.asarray(self._call["program"](cells, levels))

    def written(self, cells: np.ndarray) -> np.ndarray:
        return np.asarray(self._call["written"](cells))

    def read(self, region: Any, inputs: torch.Tensor) -> torch.Tensor:
        self.reads += 1
        found: torch.Tensor = self._call["read"](region, inputs)
        return found
