"""Weights that are read where they lie, block by block: a network need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.files.memory_map import let_go
from pimc.files.weights.stored import Dequantized

__all__ = ["Block", "Floats", "Weight", "all_finite"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
#: Groups, rows and columns of a part of a weight.
Block = tuple[slice, slice, slice]

#: Entries looked at together; more do not fit a processor's caches.
_ENTRIES = 1 << 16
#: Entries after which mapped memory is given back.
_HELD = 1 << 22
#: Largest float32.
_MOST = float(np.finfo(np.float32).max)


def all_finite(values: Floats) -> bool:
    """Whether no value is NaN or infinite: either would be an extreme, or make it NaN."""
    return bool(np.isfinite([values.min(initial=0.0), values.max(initial=0.0)]).all())


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight matrix for each group, float32 whatever the type it is stored in.

    Attributes:
        source: (groups, rows, cols) of any floating type, in memory or mapped; or codes.
        factor: what every entry is multiplied with.
    """

    source: npt.NDArray[Any] | Dequantized = field(repr=False)
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, rows, columns."""
        groups, rows, cols = self.source.shape
        return groups, rows, cols

    @property
    def size(self) -> int:
        """Entries of all groups."""
        return int(self.source.size)

    @property
    def by_column(self) -> bool:
        """Whether the entries of a column follow each other, not those of a row."""
        if isinstance(self.source, Dequantized):
            return self.source.by_column
        return self.source.strides[1] < self.source.strides[2]

    def __getitem__(self, key: Any) -> Floats:
        """Some entries as NumPy would give them; what exceeds float32 becomes infinite."""
        with np.errstate(over="ignore"):
            some = self.source[key]
            if self.factor != 1.0:
                some = some.astype(np.float64) * self.factor
            return np.require(some, np.float32, ["ALIGNED"])

    def numpy(self) -> Floats:
        """All entries; a view where they lie as float32 already."""
        return self[:]

    def blocks(self, most: int = _ENTRIES) -> Iterator[tuple[Block, Floats]]:
        """All entries, about ``most`` at a time, in the order in which they lie."""
        seen = 0
        for block in self._cuts(most):
            values = self[block]
            yield block, values
            seen += values.size
            if seen >= _HELD:
                self.let_go()
                seen = 0
        self.let_go()

    def take(self, groups: Indices, rows: Indices, columns: Indices, most: int = _HELD) -> Floats:
        """Entries where the groups, rows and columns of these numbers meet.

        Of mapped memory no more than ``most`` entries are held at a time.
        """
        # Of columns that lie one after the other nothing but what is taken is read.
        size = len(rows) if self.by_column else max(1, most // self.shape[2])
        parts = []
        for k in range(0, len(rows), size):
            parts.append(self[np.ix_(groups, rows[k : k + size], columns)])
            self.let_go()
        return np.concatenate(parts, axis=1)

    def _cuts(self, most: int) -> Iterator[Block]:
        groups, rows, cols = self.shape
        whole = slice(None)
        if groups > 1:
            size = max(1, most // max(1, rows * cols))
            yield from ((slice(k, k + size), whole, whole) for k in range(0, groups, size))
        elif self.by_column:
            size = max(1, most // max(1, rows))
            yield from ((whole, whole, slice(k, k + size)) for k in range(0, cols, size))
        else:
            size = max(1, most // max(1, cols))
            yield from ((whole, slice(k, k + size), whole) for k in range(0, rows, size))

    def let_go(self) -> None:
        """Give memory of a mapped file back."""
        if isinstance(self.source, Dequantized):
            self.source.let_go()
        else:
            let_go(self.source)

    def is_finite(self) -> bool:
        """Whether no entry is NaN, infinite or beyond float32."""
        if isinstance(self.source, Dequantized) and self.source.bound * abs(self.factor) < _MOST:
            return True
        return all(all_finite(values) for _, values in self.blocks())
