"""Errors of converters by a laboratory's own terms, as one region of a die meets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.plugins.protocols import Floats
from pimc.chip.plugins.terms import CheckedConverter
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.physics.streams import Stream, own_seed, read_key
from pimc.runtime.physics.streams import normals as fixed_normals
from pimc.runtime.read.adc import columns_of
from pimc.runtime.read.noise import normals, vector_keys

__all__ = ["OwnConverters", "Vectors"]

Ints = npt.NDArray[np.int64]


class Vectors(NamedTuple):
    """Which input vectors a read is of.

    Attributes:
        first: number of the first one in the region.
        plane: bit plane of them, 0 where there is one read a vector.
    """

    first: int
    plane: int


@dataclass(frozen=True, eq=False)
class OwnConverters:
    """The converter terms of a chip for the columns and wordlines of one region.

    A draw depends on the term's name, the die, the converter and, where it is drawn anew, the
    seed of the read noise and the number of the input vector: on no batch and no order.

    Args:
        terms: those of the chip.
        seed: of the die.
        read_seed: of what is drawn anew.
        region: number of the region.
        columns: (blocks, columns) numbers of the physical columns.
        lines: (blocks, rows, reads) numbers of the wordlines.
    """

    terms: tuple[CheckedConverter, ...]
    seed: int
    read_seed: int
    region: int
    columns: Ints = field(repr=False)
    lines: Ints = field(repr=False)

    @staticmethod
    def of(die: Die, region: Region, lines: Ints, read_seed: int) -> OwnConverters | None:
        """Those of a die's chip; None where it has none."""
        chip = die.attached()
        if die.perfect or not chip.physics.of_converters:
            return None
        columns = columns_of(chip, region)
        terms = chip.physics.of_converters
        return OwnConverters(terms, die.seed, read_seed, region.number, columns, lines)

    def driven(self, codes: torch.Tensor, full_scale: int, at: Vectors) -> list[torch.Tensor]:
        """What codes (batch, blocks, rows, positions) put on the wordlines of every read.

        A block's columns may lie in several arrays, each with converters of its own: one tensor
        a read, or a single one where no term is about inputs.
        """
        terms = [term for term in self.terms if term.has_dac]
        if not terms:
            return [codes]
        found = []
        for read in range(self.lines.shape[2]):
            values, where = codes, (Stream.OWN_DAC, self.lines[:, :, read], f"dac {read}")
            for term in terms:
                method = partial(term.dac, full_scale=float(full_scale))
                values = self._through(method, term, values, where, at)
            found.append(values)
        return found

    def converted(self, values: torch.Tensor, at: Vectors) -> torch.Tensor:
        """What is rounded for currents in codes (batch, blocks, columns, positions)."""
        where = Stream.OWN_ADC, self.columns, "adc"
        for term in self.terms:
            if term.has_adc:
                values = self._through(term.adc, term, values, where, at)
        return values

    def _through(
        self,
        method: Callable[[Floats, Floats, Floats], Floats],
        term: CheckedConverter,
        values: torch.Tensor,
        where: tuple[Stream, Ints, str],
        at: Vectors,
    ) -> torch.Tensor:
        """What ``method`` makes of values; ``where``: draws that stay, whose, and what for."""
        stream, converters, use = where
        seed = own_seed(self.seed, term.name)
        fixed = fixed_normals(term.fixed, seed, stream, converters)[:, None, :, :, None]
        anew = np.empty((term.draws, *values.shape), np.float32)
        for number in range(term.draws):
            anew[number] = self._anew(f"{term.name} {use} {number}", values.shape, at)
        found = method(values.cpu().numpy(), fixed.astype(np.float32), anew)
        return torch.from_numpy(np.asarray(found, np.float32)).to(values.device)

    def _anew(self, name: str, shape: torch.Size, at: Vectors) -> npt.NDArray[np.float32]:
        """Draws of one event each for values (batch, blocks, lines, positions)."""
        batch, blocks, lines, positions = shape
        key = read_key(own_seed(self.seed, name), self.read_seed)
        keys = vector_keys(key, self.region, at.first, batch * positions)
        count = -(-blocks * lines // 2)
        drawn = normals(keys, at.plane * count, count).flatten(0, 1)[: blocks * lines]
        by_line = drawn.reshape(blocks, lines, batch, positions).permute(2, 0, 1, 3)
        return np.asarray(by_line.numpy(), np.float32)
