"""The simulated chip behind the :class:`~pimc.runtime.device.Device` protocol."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip import Chip
from pimc.converters import adc_limits
from pimc.errors import DeviceError
from pimc.runtime.device import Region
from pimc.runtime.die import Die, Stuck


@dataclass(frozen=True)
class _Bank:
    """What one region's cells hold, ready to multiply: (blocks, columns, rows), µS."""

    g: torch.Tensor
    #: Variance of one read a unit of squared input, (blocks, columns, rows); None without noise.
    variance: torch.Tensor | None
    #: The same for the reference columns, (blocks, reads, rows): those read together share one.
    reference_variance: torch.Tensor | None
    #: (blocks, columns): which of its block's reads a column belongs to.
    read_of_column: torch.Tensor
    #: Array reads that one input vector takes, of all blocks together.
    reads: int


class SimDevice:
    """A die with its converters.

    Args:
        die: the specimen; writing changes it.
        chip: its design.
        arrays: how many arrays it must have.
        read_seed: seed of the read noise, apart from the die's own.
        converters: False leaves the ADC out: currents come back unrounded and unclipped,
            which is what an ADC of enough bits would give.
        device: torch device the arithmetic runs on.

    Attributes:
        reads: array reads so far: activations of one array by one input vector.

    Raises:
        DeviceError: the die is one of another chip.
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
    ) -> None:
        die.attach(chip, arrays)
        self.die = die
        self.chip = chip
        self.converters = converters
        self.reads = 0
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed((die.seed * 0x9E3779B97F4A7C15 + read_seed + 1) % 2**63)
        self._banks: WeakKeyDictionary[Region, _Bank] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """Which specimen this is."""
        return self.die.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Write cells; see :class:`~pimc.runtime.device.Device`."""
        self.die.program(cells, levels)
        self._banks.clear()
        return np.ones(len(cells), dtype=np.bool_)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The level each cell was last asked to hold."""
        return self.die.cells.level.reshape(-1)[cells].astype(np.int64)

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """ADC codes for DAC codes; see :class:`~pimc.runtime.device.Device`."""
        bank = self._banks.get(region)
        if bank is None:
            bank = self._banks[region] = self._bank(region)
        self.reads += bank.reads * inputs.shape[0] * inputs.shape[3]
        current = torch.matmul(bank.g, inputs)
        if bank.variance is not None:
            # Independent Gaussian noise of the cells sums to Gaussian noise of the output
            # with variance Σ x² σ², so one draw an output is exact.
            square = inputs.square()
            self._add_noise(current, torch.matmul(bank.variance, square))
            if bank.reference_variance is not None:
                common = torch.matmul(bank.reference_variance, square)
                self._add_common(current, common, bank.read_of_column)
        if not self.converters:
            return current / region.lsb_us
        low, high = adc_limits(self.chip, region.signed)
        return current.mul_(1.0 / region.lsb_us).round_().clamp_(low, high)

    def _add_noise(self, current: torch.Tensor, variance: torch.Tensor) -> None:
        noise = torch.randn(
            current.shape, generator=self._generator, device=self.device, dtype=current.dtype
        )
        current.addcmul_(noise, variance.sqrt_())

    def _add_common(
        self, current: torch.Tensor, variance: torch.Tensor, which: torch.Tensor
    ) -> None:
        """Noise of the reference columns: one draw a read and vector, for all its columns."""
        noise = torch.zeros_like(variance)
        self._add_noise(noise, variance)
        current.sub_(noise.gather(2, which[None, :, :, None].expand_as(current)))

    def _bank(self, region: Region) -> _Bank:
        cells, chip = region.cells, self.chip
        state = self.die.cells
        present = cells >= 0
        if cells.max(initial=-1) >= state.level.size:
            raise DeviceError("the die has fewer arrays than the image uses", where=self.name)
        g = np.where(present, state.g_us.reshape(-1)[cells], 0.0)
        line = np.where(present, cells // chip.array.cols, 0)
        reference = np.where(present, state.reference_us.reshape(-1)[line], 0.0)
        # Where a line is dead no current flows, and none fluctuates.
        conducting = present & (state.stuck.reshape(-1)[cells] != Stuck.OPEN)
        subtract = chip.mapping.pedestal == "reference"
        noisy = not self.die.perfect and (
            chip.read_noise.relative > 0 or chip.read_noise.sigma_us > 0
        )
        which = _read_of_column(region, chip)
        return _Bank(
            g=self._tensor(g - reference if subtract else g),
            variance=self._tensor(self._variance(g, conducting)) if noisy else None,
            reference_variance=(
                self._tensor(_one_column_a_read(self._variance(reference, reference > 0), which))
                if noisy and subtract
                else None
            ),
            read_of_column=torch.from_numpy(which).to(self.device),
            reads=int((which.max(axis=1) + 1).sum()),
        )

    def _variance(
        self, g: npt.NDArray[np.floating], present: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.floating]:
        noise = self.chip.read_noise
        return np.where(present, (noise.relative * g) ** 2 + noise.sigma_us**2, 0.0)

    def _tensor(self, values: npt.NDArray[np.floating]) -> torch.Tensor:
        by_column = np.ascontiguousarray(values.transpose(0, 2, 1), dtype=np.float32)
        return torch.from_numpy(by_column).to(self.device)


def _read_of_column(region: Region, chip: Chip) -> npt.NDArray[np.int64]:
    """(blocks, columns): which of its block's reads a column belongs to, counted from 0.

    Columns are read together where they lie in one array, on the same wordlines.
    """
    lines = region.cells // chip.array.cols
    changes = (np.diff(lines, axis=2, prepend=lines[:, :, :1]) != 0).any(axis=1)
    which: npt.NDArray[np.int64] = changes.cumsum(axis=1)
    return which


def _one_column_a_read(
    values: npt.NDArray[np.floating], which: npt.NDArray[np.int64]
) -> npt.NDArray[np.floating]:
    """(blocks, rows, columns) → (blocks, rows, reads of the block), one column of each."""
    count = int(which.max(initial=0)) + 1
    first = np.stack([(which == k).argmax(axis=1) for k in range(count)], axis=1)
    return np.take_along_axis(values, first[:, None, :], axis=2)
