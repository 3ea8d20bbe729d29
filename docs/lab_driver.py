"""A laboratory's driver in one file: the example of docs/commands.md, run by the tests.

The chip is made of NumPy arrays, where a real driver would talk to a bench. The package that this
file belongs to registers it in its pyproject.toml, and `pimc devices` lists it:

    [project.entry-points."pimc.devices"]
    lab = "lab_driver:Lab"

pimc must have `Lab.open` and, of a chip, `name`, `program`, `written` and `read`. All else are
abilities: a driver leaves out what its chip cannot do, and pimc does without it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import code_limits
from pimc.errors import DeviceError, UsageError
from pimc.files.writing.atomic import replacing
from pimc.image.image import Image
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Device, Saturation

#: Cells lose conductance with this time constant.
DRIFT_S = 30 * 86400.0


class Lab:
    """A rack of cells, kept in an .npz file."""

    @staticmethod
    def open(image: Image, *, die: Path | None, seed: int) -> Device:
        """The rack in the file that `--die` names, or an empty one."""
        return _opened(Rack(image, seed), die)

    # A driver whose chips are real has no `simulate`: see the ability `Simulator`.
    @staticmethod
    def simulate(
        image: Image,
        *,
        die: Path | None,
        seed: int,
        ir_drop: str,
        processor: str,
        converters: bool,
    ) -> Device:
        """The same; `seed` is also that of the errors of an empty rack."""
        if ir_drop == "exact":
            raise UsageError("the rack's wires are not simulated", hint="leave out --ir-drop")
        return _opened(Rack(image, seed, converters), die)


def _opened(rack: Rack, die: Path | None) -> Rack:
    if die is not None and die.exists():
        with np.load(die) as state:
            rack.restore(state)
    return rack


class Rack:
    """Cells whose writes land with an error, whose reads are noisy, and that drift."""

    def __init__(self, image: Image, seed: int, converters: bool = True) -> None:
        chip = image.chip
        cells = image.arrays * chip.array.rows * chip.array.cols
        self._chip, self._reference_us = chip, image.codebook.reference_us
        self._read_seed, self._converters = seed, converters
        self._level = np.full(cells, -1, np.int64)
        self._g_us = np.full(cells, chip.cell.g_min_us)
        self._made = np.asarray([seed, 0])  # the seed of its errors, and how often it was written
        self.reads = 0
        self.saturation: dict[str, Saturation] = {}

    # --- what pimc must have -------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Which rack this is; captures carry it."""
        return f"rack:{self._made[0]}"

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; all go through."""
        target_us = np.asarray(self._chip.cell.g_levels_us)[levels]
        errors = np.random.default_rng(self._made.tolist()).standard_normal(len(cells))
        landed_us = target_us + self._chip.cell.sigma.sigma_us(target_us) * errors
        self._g_us[cells], self._level[cells] = np.maximum(landed_us, 0.0), levels
        self._made[1] += 1
        return np.ones(len(cells), np.bool_)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The levels that were asked for."""
        return self._level[cells]

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes (batch, blocks, rows, positions)."""
        x = inputs.cpu().numpy().astype(np.float64)
        cells = region.cells  # (blocks, rows, columns)
        there = cells >= 0
        g_us = np.where(there, self._g_us[cells], 0.0)
        signal = np.einsum("brc,nbrp->nbcp", g_us - self._reference_us * there, x)
        spread = self._chip.read_noise.relative * g_us
        variance = np.einsum("brc,nbrp->nbcp", spread**2, x**2)
        noise = np.random.default_rng([self._read_seed, self.reads]).standard_normal(signal.shape)
        lsb_us = np.broadcast_to(region.lsb_us, there.shape[::2])[:, :, None]
        codes = (signal + np.sqrt(variance) * noise) / lsb_us
        self.reads += x.shape[0] * x.shape[1] * x.shape[3]
        if self._converters:
            codes = self._converted(region, np.rint(codes))
        return torch.from_numpy(codes.astype(np.float32)).to(inputs.device)

    def _converted(self, region: Region, codes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        low, high = code_limits(self._chip, region.signed)
        met = Saturation(codes.size, int(((codes < low) | (codes > high)).sum()))
        self.saturation[region.name] = self.saturation.get(region.name, Saturation()) + met
        return codes.clip(low, high)

    # --- abilities: `reads` and `saturation` are CountsReads and CountsSaturation --------------

    def observer(self, read_seed: int) -> Rack:
        """Observable: the same cells, with read noise and counts of its own."""
        other = copy.copy(self)
        other._read_seed, other.reads, other.saturation = read_seed, 0, {}
        return other

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Resumable: all that later reads and writes depend on."""
        kept = {name: values.copy() for name, values in self._cells().items()}
        return kept | {"reads": np.asarray([self.reads])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Resumable: go back to a state."""
        if state["level"].shape != self._level.shape:
            raise DeviceError("this state is of another rack", where=self.name)
        for name, values in self._cells().items():
            values[...] = state[name]
        self.reads = int(state["reads"][0]) if "reads" in state else 0

    @property
    def reads_change(self) -> bool:
        """Savable: reads leave the cells as they are, so pimc need not save after them."""
        return False

    def save(self, path: Path) -> None:
        """Savable: a file that `open` takes, whole or not at all."""
        with replacing(path) as stream:
            np.savez(stream, level=self._level, g_us=self._g_us, made=self._made)

    def age(self, seconds: float) -> None:
        """Ageable: cells drift."""
        self._g_us *= np.exp(-seconds / DRIFT_S)

    def _cells(self) -> dict[str, npt.NDArray[Any]]:
        return {"level": self._level, "g_us": self._g_us, "made": self._made}
