"""The banks of one device while it is read: each is made once, and again when it has expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import dac_limits
from pimc.errors import RecoveryError
from pimc.files.schema import TensorSpec, require
from pimc.runtime.die.bank import Bank, bank_of, periods
from pimc.runtime.die.cells import STRESS
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.die.site import Ints, Site, site_of
from pimc.runtime.physics.disturb import disturbs, stress_of, stress_table
from pimc.runtime.physics.ir_drop import Method, require_method

if TYPE_CHECKING:
    import torch

Loaded = TypeVar("Loaded")

#: How a state of banks lies in a file.
_COUNTS = TensorSpec(("int64",), ("places", 3), "cell, samples, vectors", values="not negative")
_STRESS = TensorSpec(("int64",), ("arrays", "rows"), "of wordlines", values="stress")


@dataclass
class _Count:
    """How far the cells of one place were read, by whatever session.

    Attributes:
        samples: network inputs so far.
        vectors: input vectors so far.
        stress: (arrays, rows) of their own reads since the start; None where reads disturb
            nothing.
        periods: which of each kind was read last; None before the first read.
        begun: the stress when these began, which is what a bank for them is made of.
    """

    samples: int = 0
    vectors: int = 0
    stress: Ints | None = None
    periods: tuple[int, ...] | None = None
    begun: Ints | None = None


@dataclass
class _Reader(Generic[Loaded]):
    """What is kept for one region.

    Attributes:
        count: how far its cells were read.
        periods: which of each kind the bank is for; None while there is no bank.
    """

    count: _Count
    site: Site | None = None
    bank: Loaded | None = None
    periods: tuple[int, ...] | None = None


class Banks(Generic[Loaded]):
    """Makes banks and counts what was read, so that nothing depends on the size of batches.

    A bank expires after every one of :func:`~pimc.runtime.die.bank.periods` samples of its
    region; a batch that goes on beyond is cut there. Disturb counts the die's stress at the start
    (or when it was last written to or aged) and, since then, the region's own reads.

    Args:
        load: what the device makes of a region's bank.
        noise_seed: seed of what changes from sample to sample.
        wears: reads add to the die's stress.

    Attributes:
        disturbs: reads change what cells hold, so :meth:`over` asks for their stress.

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
        self._periods = () if die.perfect else periods(chip)
        self.disturbs = disturbs(chip) and not die.perfect
        self._revision = die.revision
        self._start = die.cells.stress.copy()
        self._readers: WeakKeyDictionary[Region, _Reader[Loaded]] = WeakKeyDictionary()
        self._counts: dict[int, _Count] = {}

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """How far all was read; with the die's cells all that later reads depend on."""
        if self._revision != self._die.revision:
            self._renew()
        counts = [(number, c.samples, c.vectors) for number, c in self._counts.items()]
        of_counts = {
            f"{name}.{number}": getattr(count, name)
            for number, count in self._counts.items()
            for name in ("stress", "begun")
        }
        return {
            "counts": np.asarray(counts, np.int64).reshape(-1, 3),
            "stress": self._start,
            **{name: value for name, value in of_counts.items() if value is not None},
        }

    def require_state(self, state: Mapping[str, npt.NDArray[Any]], where: str) -> None:
        """Make sure that a state is one of banks of such a die.

        Args:
            where: the device, in messages.

        Raises:
            RecoveryError: it is not.
        """
        arrays, rows = self._start.shape
        sizes = {"arrays": arrays, "rows": rows}
        specs = {name: _STRESS for name in state if name.startswith(("stress.", "begun."))}
        specs |= {"counts": _COUNTS, "stress": _STRESS}
        require(specs, state, sizes, RecoveryError, where,
                ranges={"stress": STRESS}, named="device.{}".format)  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state, when the die's cells are again what they were."""
        self._readers.clear()
        self._revision, self._start = self._die.revision, state["stress"].copy()
        self._counts = {
            number: _Count(
                samples,
                vectors,
                _copied(state.get(f"stress.{number}")),
                self._at(samples - 1) if samples else None,
                _copied(state.get(f"begun.{number}")),
            )
            for number, samples, vectors in state["counts"].tolist()
        }

    def _renew(self) -> None:
        """Make all banks anew: cells were written or aged."""
        self._revision = self._die.revision
        self._start = self._die.cells.stress.copy()
        for reader in self._readers.values():
            reader.site = reader.bank = reader.periods = None
        for count in self._counts.values():
            count.stress = count.begun = None

    def over(
        self,
        region: Region,
        inputs: torch.Tensor,
        vectors: int,
        stress: Callable[[torch.Tensor, torch.Tensor], Ints] = stress_of,
    ) -> Iterator[tuple[Loaded, torch.Tensor, int]]:
        """Parts of inputs (samples, …), each with its bank and the number of its first vector.

        A part counts as read when the next one is asked for.

        Args:
            inputs: anything with a first dimension of samples.
            vectors: input vectors of a sample.
            stress: (blocks, rows) of wordlines that a part stands for, of a table by the magnitude
                of DAC codes; asked where reads disturb. Of DAC codes (samples, blocks, rows,
                positions) if not given.

        Raises:
            DeviceError: the region has cells that the die has not.
        """
        if self._revision != self._die.revision:
            self._renew()
        reader = self._readers.get(region)
        if reader is None:
            count = self._counts.setdefault(region.number, _Count())
            reader = self._readers[region] = _Reader(count)
        count = reader.count
        while True:
            room = min((p - count.samples % p for p in self._periods), default=len(inputs))
            part, inputs = inputs[:room], inputs[room:]
            yield self._bank(region, reader), part, count.vectors
            if self.disturbs:
                self._stressed(region, reader, part, stress)
            count.samples += len(part)
            count.vectors += len(part) * vectors
            if not len(inputs):
                return

    def _bank(self, region: Region, reader: _Reader[Loaded]) -> Loaded:
        count, now = reader.count, self._at(reader.count.samples)
        if count.periods != now:
            count.periods, count.begun = now, count.stress
        if reader.bank is None or reader.periods != now:
            stress = self._start if count.begun is None else self._start + count.begun
            bank = bank_of(
                self._die,
                region,
                count.samples,
                noise_seed=self._noise_seed,
                stress=stress,
                # Of a bank that lasts as long as the cells do nothing is needed again.
                site=self._site(region, reader) if self._periods else None,
                ir_drop=self._ir_drop,
            )
            reader.bank, reader.periods = self._load(region, bank), now
        return reader.bank

    def _at(self, sample: int) -> tuple[int, ...]:
        """Which period of each kind a sample is in."""
        return tuple(sample // period for period in self._periods)

    def _site(self, region: Region, reader: _Reader[Loaded]) -> Site:
        if reader.site is None:
            reader.site = site_of(self._die, region, self._ir_drop)
        return reader.site

    def _stressed(
        self,
        region: Region,
        reader: _Reader[Loaded],
        part: torch.Tensor,
        stress_by: Callable[[torch.Tensor, torch.Tensor], Ints],
    ) -> None:
        """Add what reading a part does to the wordlines that it drives."""
        import torch

        chip, site = self._die.attached(), self._site(region, reader)
        table = torch.from_numpy(stress_table(chip, dac_limits(chip, region.signed)[1]))
        of_rows = stress_by(table.to(part.device), part)[:, :, None]
        stress = np.zeros_like(self._start)
        np.add.at(stress.reshape(-1), site.lines, np.where(site.driven, of_rows, 0))
        count = reader.count
        count.stress = stress if count.stress is None else count.stress + stress
        if self._wears:
            # No cell tells what is beyond, and a die file holds no more.
            np.minimum(self._die.cells.stress + stress, STRESS[1], out=self._die.cells.stress)


def _copied(values: Ints | None) -> Ints | None:
    return None if values is None else values.copy()
