"""The simulated chip behind the :class:`~pimc.runtime.door.device.Device` protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import DeviceError, RecoveryError
from pimc.files.schema import TensorSpec, require
from pimc.files.writing.alone import alone
from pimc.image.image import ImageLayer
from pimc.runtime.die.banks import Banks
from pimc.runtime.die.die import Die
from pimc.runtime.die.die_file import require_cells
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Saturation
from pimc.runtime.physics.disturb import disturbs
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.physics.streams import read_key
from pimc.runtime.read.digital_side import DigitalSide

if TYPE_CHECKING:
    import torch

    from pimc.runtime.die.bank import Bank
    from pimc.runtime.door.sim_reads import SimReads
    from pimc.runtime.read.loaded import Loaded, Loader

#: How often arrays were read, in a kept state.
_READS = TensorSpec(("int64",), (1,), "array reads so far", values="not negative")
#: What tells a file from another that took its place.
Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """What tells this file from one that takes its place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass
class Tally:
    """What is counted while a die is read.

    Attributes:
        reads: array reads so far.
        conversions: by layer.
        clipped: those of them that lay outside the converter's range.
    """

    reads: int = 0
    conversions: dict[str, int] = field(default_factory=dict)
    clipped: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, layer: str, conversions: int, clipped: torch.Tensor) -> None:
        """Count conversions of a layer."""
        self.conversions[layer] = self.conversions.get(layer, 0) + conversions
        self.clipped[layer] = self.clipped.get(layer, clipped.new_zeros(())) + clipped


class SimDevice:
    """A die with its converters.

    Torch is imported when it is first read: to write, age and save a die needs none.

    Args:
        die: the specimen; writing changes it.
        chip: its design.
        arrays: how many arrays it must have.
        read_seed: seed of the read noise, apart from the die's own.
        converters: False leaves the ADC out: currents come back unrounded and unclipped,
            which is what an ADC of enough bits would give.
        device: torch device the arithmetic runs on.
        ir_drop: how the resistance of wires is worked out, where the chip's wires have any:
            to first order, or exactly from Kirchhoff's laws.
        wears: reads disturb the die itself, where the chip says that reads disturb.
        fused: layers may be read from their input to code sums in one go, where the processor
            can; the torch path gives the same up to float rounding.

    Attributes:
        reads: array reads so far: activations of one array by one input vector, or by one bit
            plane of it.

    Raises:
        DeviceError: the die is one of another chip.
        UsageError: no such treatment of IR drop.
    """

    def __init__(
        self,
        die: Die,
        chip: Chip,
        arrays: int,
        *,
        read_seed: int = 0,
        converters: bool = True,
        device: str | torch.device = "cpu",
        ir_drop: Method = "first",
        wears: bool = True,
        fused: bool = True,
    ) -> None:
        die.attach(chip, arrays)
        self.die = die
        self.chip = chip
        self.converters = converters
        self._device = device
        self._ir_drop: Method = ir_drop
        self._may_fuse = fused
        self._tally = Tally()
        self._key = read_key(die.seed, read_seed)
        self._banks: Banks[Loaded] = Banks(
            die,
            _LoadsLate(die, converters, device, read_seed),
            noise_seed=self._key[0] | self._key[1] << 32,
            ir_drop=ir_drop,
            wears=wears,
        )
        self._file: tuple[Path, Stamp | None] | None = None

    @cached_property
    def _reading(self) -> SimReads:
        from pimc.runtime.door.sim_reads import SimReads

        return SimReads(
            self.die,
            self._banks,
            self._tally,
            key=self._key,
            converters=self.converters,
            device=self._device,
            ir_drop=self._ir_drop,
            fused=self._may_fuse,
        )

    @property
    def reads(self) -> int:
        """See :class:`~pimc.runtime.door.abilities.CountsReads`."""
        return self._tally.reads

    @property
    def name(self) -> str:
        """Which specimen this is."""
        return self.die.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; see :class:`~pimc.runtime.door.device.Device`."""
        return self.die.program(cells, levels)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold."""
        return self.die.cells.level.reshape(-1)[cells].astype(np.int64)

    def times_written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See :class:`~pimc.runtime.door.abilities.CountsWrites`."""
        return self.die.cells.writes.reshape(-1)[cells].astype(np.int64)

    def observer(self, read_seed: int) -> SimDevice:
        """See :class:`~pimc.runtime.door.abilities.Observable`."""
        arrays = len(self.die.cells.level)
        return SimDevice(
            self.die,
            self.chip,
            arrays,
            read_seed=read_seed,
            converters=self.converters,
            device=self._device,
            ir_drop=self._ir_drop,
            wears=False,
        )

    @property
    def reads_change(self) -> bool:
        """See :class:`~pimc.runtime.door.abilities.Savable`."""
        return disturbs(self.chip)

    def kept_in(self, path: Path, found: Stamp | None) -> None:
        """Note that the die belongs to a file.

        Args:
            found: what the file was *before* it was read, so that a change while it was read
                counts as one; None where there was none.
        """
        self._file = path, found

    def save(self, path: Path) -> None:
        """Write the die file; see :class:`~pimc.runtime.door.abilities.Savable`.

        Raises:
            DeviceError: another process is at work on it, or wrote it since this die was read
                from it; to write it would undo that.
            UsageError: it cannot be written.
        """
        with alone(path, DeviceError):
            ours = self._file is not None and self._file[0] == path
            if ours and stamp(path) not in (None, self._file and self._file[1]):
                raise DeviceError(
                    "another process wrote it meanwhile",
                    where=str(path),
                    hint="run the command again",
                )
            self.die.save(path)
            self.kept_in(path, stamp(path))

    def age(self, seconds: float) -> None:
        """See :class:`~pimc.runtime.door.abilities.Ageable`."""
        self.die.age(seconds)

    @property
    def age_s(self) -> float:
        """See :class:`~pimc.runtime.door.abilities.TellsAge`."""
        return self.die.age_s

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """See :class:`~pimc.runtime.door.abilities.Resumable`."""
        held = {f"cells.{name}": value.copy() for name, value in vars(self.die.cells).items()}
        return held | {"reads": np.asarray([self.reads])} | self._banks.state()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """See :class:`~pimc.runtime.door.abilities.Resumable`.

        Raises:
            RecoveryError: this is no state of such a device; nothing is changed then.
        """
        held = {n.removeprefix("cells."): v for n, v in state.items() if n.startswith("cells.")}
        require_cells(self.chip, held, RecoveryError, self.name, named="device.cells.{}".format)
        if held["level"].shape != self.die.cells.level.shape:
            raise RecoveryError("tensor device.cells.level is of another die", where=self.name)
        self._banks.require_state(state, self.name)
        require({"reads": _READS}, state, {}, RecoveryError, self.name,
                ranges={}, named="device.{}".format)  # fmt: skip
        for name, value in vars(self.die.cells).items():
            value[...] = held[name]
        self._tally.reads = int(state["reads"][0])
        self._banks.restore(state)

    @property
    def saturation(self) -> dict[str, Saturation]:
        """What the converters of each layer met so far."""
        return {
            name: Saturation(count, int(self._tally.clipped[name]))
            for name, count in self._tally.conversions.items()
        }

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes; see :class:`~pimc.runtime.door.device.Device`."""
        return self._reading.read(region, inputs)

    def reads_whole(self, layer: ImageLayer) -> bool:
        """See :class:`~pimc.runtime.door.abilities.ReadsLayers`."""
        return self._reading.reads_whole(layer)

    @property
    def rectifies(self) -> bool:
        """See :class:`~pimc.runtime.door.abilities.Rectifies`."""
        return True

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor:
        """See :class:`~pimc.runtime.door.abilities.ReadsLayers`."""
        return self._reading.read_layer(region, layer, x, side)


class _LoadsLate:
    """Makes banks ready for torch, which is imported with the first.

    No method of the device: banks that know their device would go only with the next collection.
    """

    def __init__(
        self, die: Die, converters: bool, device: str | torch.device, read_seed: int
    ) -> None:
        self._made: Loader | None = None
        self._of = die, converters, device, read_seed

    def __call__(self, region: Region, bank: Bank) -> Loaded:
        if self._made is None:
            import torch

            from pimc.runtime.read.loaded import Loader

            die, converters, device, read_seed = self._of
            self._made = Loader(die, converters, torch.device(device), read_seed)
        return self._made(region, bank)
