"""A bank ready to be read with torch: its currents, their noise, the converters behind them.

The torch path reads whatever the fused one does not: on any device of torch, non-linear cells
behind wires that are taken exactly, terms of a laboratory's own that are no fluctuation of
conductances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import dac_limits, plane_full_scale
from pimc.chip.design import Chip
from pimc.runtime.die.bank import SQUARE, Bank, NoiseBank
from pimc.runtime.die.die import Die
from pimc.runtime.die.fixed import Drives, FixedBank, Squares, fits
from pimc.runtime.die.region import Region
from pimc.runtime.physics.iv import driven
from pimc.runtime.physics.read_noise import terms_of
from pimc.runtime.physics.streams import READ_REFERENCE
from pimc.runtime.read.adc import Adc
from pimc.runtime.read.curved import CurvedWires
from pimc.runtime.read.dac import bent, held_squares, noise_drive
from pimc.runtime.read.fused import FusedBank
from pimc.runtime.read.noise import normals, pairs
from pimc.runtime.read.own import OwnConverters, Vectors

__all__ = ["Loaded", "Loader", "can_fuse"]


def can_fuse(die: Die) -> bool:
    """Whether nothing of a die's chip is beyond the fused read, wherever it is computed."""
    chip = die.attached()
    plain = not chip.physics.of_converters and set(terms_of(chip)) <= {SQUARE}
    return die.perfect or plain


#: In place of what can be made again.
_NONE = np.zeros((0, 0, 0), np.float32)


@dataclass(frozen=True)
class LoadedNoise:
    """Noise of reads as tensors, rows last; see :class:`~pimc.runtime.die.bank.NoiseBank`."""

    power: int
    variance: torch.Tensor | None
    reference_variance: torch.Tensor | None

    def of(self, drive: torch.Tensor) -> Variances:
        """Variances of the currents of cells driven like this."""
        own, beside = self.variance, self.reference_variance
        return Variances(
            None if own is None else torch.matmul(own, drive),
            None if beside is None else torch.matmul(beside, drive),
        )


class Variances(NamedTuple):
    """Variances of columns' currents and of their reference columns'; None without noise."""

    own: torch.Tensor | None
    common: torch.Tensor | None


@dataclass(frozen=True)
class Held:
    """Squares of the drive, and what cells are multiplied with, as the fused read has them.

    Attributes:
        rows: (blocks, 1, rows), columns: (blocks, columns, 1) variances in the mean.
    """

    squares: Squares
    rows: torch.Tensor
    columns: torch.Tensor

    @staticmethod
    def of(bank: FixedBank, device: torch.device) -> Held | None:
        """Those of a bank; None where nothing fluctuates."""
        if bank.typical is None or bank.variance is None:
            return None
        rows = bank.typical.rows
        columns = np.asarray(bank.typical.columns * bank.variance.quantum)
        return Held(
            bank.squares,
            torch.from_numpy(rows.transpose(0, 2, 1).astype(np.float32)).to(device),
            torch.from_numpy(columns.astype(np.float32))[:, :, None].to(device),
        )

    def variances(self, noise: LoadedNoise, inputs: torch.Tensor) -> Variances:
        """Those of cells driven with whole codes."""
        whole, rest = held_squares(self.squares, inputs)
        own, beside = noise.of(whole).own, noise.of(whole + rest).common
        assert own is not None  # else there were no such object
        own = own + self.columns * torch.matmul(self.rows, rest)
        return Variances(own.clamp_min_(0.0), beside)


class Matrices(NamedTuple):
    """What drives are multiplied with, as tensors, rows last.

    Attributes:
        g: (blocks, columns, rows) currents.
        noises: of reads.
    """

    g: torch.Tensor
    noises: tuple[LoadedNoise, ...]

    @staticmethod
    def of(bank: Bank, device: torch.device) -> Matrices:
        """Those of a bank."""

        def by_column(values: npt.NDArray[np.float32]) -> torch.Tensor:
            turned = np.ascontiguousarray(values.transpose(0, 2, 1))
            return torch.from_numpy(turned).to(device)

        def noise(one: NoiseBank) -> LoadedNoise:
            beside = one.reference_variance
            return LoadedNoise(
                one.power,
                None if one.variance is None else by_column(one.variance),
                None if beside is None else by_column(beside),
            )

        there = (one for one in bank.noises if one.variance is not None)
        return Matrices(by_column(bank.g_us), tuple(noise(one) for one in there))

    @staticmethod
    def rounded(fixed: FixedBank, bank: Bank, device: torch.device) -> Matrices:
        """Those of a bank with the numbers that fixed point can hold."""
        return Matrices.of(fixed.rounded(bank), device)


@dataclass(frozen=True)
class Loaded:
    """A bank ready to multiply, and the converters behind it.

    Attributes:
        make: the matrices, eight bytes a cell.
        noisy: reads have noise.
        fused: the same for the fused read; None where codes are too large for fixed point.
        drives: what wordlines get there; None where that is exact, as where terms of a
            laboratory's own make numbers of codes that are not whole.
        held: how squares of the drive are held there; None where they are exact.
        own: converter terms of a laboratory's own.
        curved: what non-linear cells add behind exact wires.
    """

    die: Die
    signed: bool
    make: Callable[[], Matrices] = field(repr=False)
    noisy: bool
    read_of_column: torch.Tensor
    reads: int
    adc: Adc
    fused: FusedBank | None
    drives: Drives | None
    held: Held | None
    own: OwnConverters | None
    curved: CurvedWires | None = None

    @cached_property
    def chip(self) -> Chip:
        """The die's design."""
        return self.die.attached()

    @cached_property
    def matrices(self) -> Matrices:
        """What drives are multiplied with; kept until it is let go."""
        return self.make()

    def let_go(self) -> None:
        """Keep no matrices that can be made again."""
        if self.fused is not None:
            self.__dict__.pop("matrices", None)

    def currents(
        self, inputs: torch.Tensor, keys: torch.Tensor | None, at: Vectors
    ) -> torch.Tensor:
        """What columns give in one read: (batch, blocks, columns, positions) µS times DAC code.

        Args:
            inputs: (batch, blocks, rows, positions) DAC codes, or a bit plane of them.
            keys: of the input vectors' draws; None without noise.
            at: which input vectors they are.
        """
        if self.own is None:
            return self._currents(inputs, keys, at.plane)
        drives = self.own.driven(inputs, plane_full_scale(self.chip, self.signed), at)
        found = [self._currents(drive, keys, at.plane) for drive in drives]
        current = found[0]
        for read, other in enumerate(found[1:], 1):
            current = torch.where(self.read_of_column[None, :, :, None] == read, other, current)
        return current

    def _currents(
        self, inputs: torch.Tensor, keys: torch.Tensor | None, plane: int
    ) -> torch.Tensor:
        """The same for what wordlines really get."""
        chip, unbent = self.chip, inputs
        if self.drives is not None:
            inputs = bent(self.drives, inputs)
        elif chip.dac.mode == "parallel" and not self.die.perfect:
            inputs = driven(inputs, dac_limits(chip, self.signed)[1], chip.cell.iv_alpha)
        g, noises = self.matrices
        current = torch.matmul(g, inputs)
        if self.curved is not None:
            current.add_(self.curved.beyond(unbent))
        if keys is None:
            return current
        # Independent Gaussian noise of the cells sums to Gaussian noise of the output with
        # variance Σ x² σ², so one draw an output is exact.
        parts = [
            self.held.variances(noise, inputs)
            if self.held is not None and noise.power == SQUARE
            else noise.of(noise_drive(chip, self.signed, inputs, noise.power))
            for noise in noises
        ]
        variance = _total([part.own for part in parts])
        common = _total([part.common for part in parts])
        if variance is not None:
            columns, first = g.shape[1], plane * len(g) * pairs(g.shape[1])
            current.add_(_noise(variance, keys, first, pairs(columns)))
        if common is not None:
            first = READ_REFERENCE + plane * common.shape[1] * common.shape[2]
            which = self.read_of_column[None, :, :, None]
            current.sub_(_common(common, keys, first).gather(2, which.expand_as(current)))
        return current


@dataclass(frozen=True)
class Loader:
    """Makes ready what a device reads; apart from the device, which would else hold itself.

    Args:
        read_seed: of the draws of a laboratory's own converter terms.
    """

    die: Die
    converters: bool
    device: torch.device
    read_seed: int

    def __call__(self, region: Region, bank: Bank) -> Loaded:
        """What a bank is read with."""
        chip = self.die.attached()
        adc, fused = Adc.of(self.die, region, self.device), None
        drives: Drives | None = None
        held: Held | None = None
        own = OwnConverters.of(self.die, region, bank.lines, self.read_seed)
        if self.converters and not bank.curved and fits(chip, region.signed):
            of_region = Drives.of(chip, region.signed, perfect=self.die.perfect)
            fixed = FixedBank.of(bank, chip, of_region)
            fused = FusedBank(fixed, adc, bank.read_of_column)
            if own is None:
                drives, held = of_region, Held.of(fixed, self.device)
            # Whole numbers take less, and the fused read needs no others.
            rest = replace(bank, g_us=_NONE, variance=None, reference_variance=None)
            make = partial(Matrices.rounded, fixed, rest, self.device)
        else:
            made = Matrices.of(bank, self.device)
            make = partial(_as_made, made)
        return Loaded(
            self.die,
            region.signed,
            make,
            any(noise.variance is not None for noise in bank.noises),
            torch.from_numpy(bank.read_of_column).to(self.device),
            bank.reads,
            adc,
            fused,
            drives,
            held,
            own,
            CurvedWires.of(bank, chip, region.signed, self.device),
        )


def _as_made(made: Matrices) -> Matrices:
    return made


def _total(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """The sum of variances; None without any noise."""
    total = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


def _noise(
    variance: torch.Tensor, keys: torch.Tensor, first: int, pairs_a_block: int
) -> torch.Tensor:
    """Noise of columns (batch, blocks, columns, positions), from pair ``first`` on."""
    batch, blocks, columns, positions = variance.shape
    draws = normals(keys, first, blocks * pairs_a_block)
    draws = draws.reshape(blocks, 2 * pairs_a_block, batch, positions)[:, :columns]
    return draws.permute(2, 0, 1, 3) * variance.sqrt()


def _common(variance: torch.Tensor, keys: torch.Tensor, first: int) -> torch.Tensor:
    """Noise of reference columns (batch, blocks, reads, positions): a pair each, one half used."""
    batch, blocks, reads, positions = variance.shape
    draws = normals(keys, first, blocks * reads)[:, 0]
    return draws.reshape(blocks, reads, batch, positions).permute(2, 0, 1, 3) * variance.sqrt()
