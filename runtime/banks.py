"""The banks of one device while it is read: each is made once, and again when it has expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from pimc.converters import dac_limits
from pimc.runtime.bank import Bank, bank_of, epoch_samples
from pimc.runtime.device import Region
from pimc.runtime.die import Die
from pimc.runtime.physics.disturb import disturbs, stress_of, stress_table
from pimc.runtime.physics.ir_drop import Method, require_method
from pimc.runtime.site import Ints, Site, site_of

Loaded = TypeVar("Loaded")


@dataclass
class _Reader(Generic[Loaded]):
    """How far one region has been read.

    Attributes:
        samples: network inputs so far.
        vectors: input vectors so far.
        stress: (arrays, rows) of the region's own reads since the start; None where reads
            disturb nothing.
        epoch: which one the bank is for; None while there is no bank.
    """

    samples: int = 0
    vectors: int = 0
    stress: Ints | None = None
    site: Site | None = None
    bank: Loaded | None = None
    epoch: int | None = None


class Banks(Generic[Loaded]):
    """Makes banks and counts what was read, so that nothing depends on the size of batches.

    A bank holds for :func:`~pimc.runtime.bank.epoch_samples` samples of its region; a batch that
    goes on beyond is cut there. Disturb counts the die's stress at the start (or when it was last
    written to or aged) and, since then, the region's own reads.

    Args:
        load: what the device makes of a region's bank.
        noise_seed: seed of what changes from epoch to epoch.
        wears: reads add to the die's stress.

    Attributes:
        disturbs: reads change what cells hold, so :meth:`over` must see their DAC codes.

    Raises:
        UsageError: no such treatment of IR drop.
    """

    def __init__(
        self,
        die: Die,
        load: Callable[[Region, Bank], Loaded],
        *,
        noise_seed: int = 0,
        ir_drop: Method = "first",
        wears: bool = True,
    ) -> None:
        require_method(ir_drop)
        self._die = die
        self._load = load
        self._noise_seed = noise_seed
        self._ir_drop: Method = ir_drop
        self._wears = wears
        chip = die.attached()
        self._every = None if die.perfect else epoch_samples(chip)
        self.disturbs = disturbs(chip) and not die.perfect
        self._revision = die.revision
        self._start = die.cells.stress.copy()
        self._readers: WeakKeyDictionary[Region, _Reader[Loaded]] = WeakKeyDictionary()

    def _renew(self) -> None:
        """Make all banks anew: cells were written or aged."""
        self._revision = self._die.revision
        self._start = self._die.cells.stress.copy()
        for reader in self._readers.values():
            reader.site = reader.bank = reader.epoch = reader.stress = None

    def over(
        self, region: Region, inputs: torch.Tensor, vectors: int
    ) -> Iterator[tuple[Loaded, torch.Tensor, int]]:
        """Parts of inputs (samples, …), each with its bank and the number of its first vector.

        A part counts as read when the next one is asked for.

        Args:
            inputs: DAC codes (samples, blocks, rows, positions) where reads disturb; else anything
                with a first dimension of samples.
            vectors: input vectors of a sample.

        Raises:
            DeviceError: the region has cells that the die has not.
        """
        if self._revision != self._die.revision:
            self._renew()
        reader = self._readers.setdefault(region, _Reader())
        while True:
            room = len(inputs)
            if self._every is not None:
                room = self._every - reader.samples % self._every
            part, inputs = inputs[:room], inputs[room:]
            yield self._bank(region, reader), part, reader.vectors
            if self.disturbs:
                self._stressed(region, reader, part)
            reader.samples += len(part)
            reader.vectors += len(part) * vectors
            if not len(inputs):
                return

    def _bank(self, region: Region, reader: _Reader[Loaded]) -> Loaded:
        epoch = 0 if self._every is None else reader.samples // self._every
        if reader.bank is None or reader.epoch != epoch:
            stress = self._start if reader.stress is None else self._start + reader.stress
            bank = bank_of(
                self._die,
                region,
                epoch,
                noise_seed=self._noise_seed,
                stress=stress,
                site=self._site(region, reader),
            )
            reader.bank, reader.epoch = self._load(region, bank), epoch
        return reader.bank

    def _site(self, region: Region, reader: _Reader[Loaded]) -> Site:
        if reader.site is None:
            reader.site = site_of(self._die, region, self._ir_drop)
        return reader.site

    def _stressed(self, region: Region, reader: _Reader[Loaded], codes: torch.Tensor) -> None:
        """Add what reading ``codes`` does to the wordlines they drive."""
        chip, site = self._die.attached(), self._site(region, reader)
        table = torch.from_numpy(stress_table(chip, dac_limits(chip, region.signed)[1]))
        of_rows = stress_of(table.to(codes.device), codes)[:, :, None]
        stress = np.zeros_like(self._start)
        np.add.at(stress.reshape(-1), site.lines, np.where(site.driven, of_rows, 0))
        reader.stress = stress if reader.stress is None else reader.stress + stress
        if self._wears:
            self._die.cells.stress += stress
