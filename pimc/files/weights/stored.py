"""Weights stored as codes of few bits, worked out where they are looked at.

All shapes are (groups, rows, cols) with one group. Indices are three slices without steps, a
number and two of them, or what ``np.ix_`` makes of three vectors of places from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.files.memory_map import let_go
from pimc.files.weights.packing import unpack_levels

__all__ = ["Dequantized", "Packed"]

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]

#: Codes have eight bits at most.
_LARGEST_CODE = 255
#: Largest numbers of the types that most networks are in.
_MOST = {np.dtype(kind): float(np.finfo(kind).max) for kind in (np.float16, np.float32)}


@dataclass(frozen=True, eq=False)
class Packed:
    """Codes that share bytes, as :mod:`pimc.files.weights.packing` puts them.

    Attributes:
        data: (lines, bytes) of them.
        bits: of a code; 1, 2, 4 or 8.
        length: codes a line.
        by_column: whether a line is a column; else it is a row.
        signed: whether they are in two's complement.
    """

    data: npt.NDArray[np.uint8] = field(repr=False)
    bits: int
    length: int
    by_column: bool
    signed: bool = False

    @property
    def shape(self) -> Shape:
        """Groups, rows, columns."""
        lines = len(self.data)
        return (1, self.length, lines) if self.by_column else (1, lines, self.length)

    def __getitem__(self, key: tuple[Any, Any, Any]) -> Array:
        group, line, place = (key[0], *(key[:0:-1] if self.by_column else key[1:]))
        each = 8 // self.bits
        if isinstance(place, np.ndarray):
            shift = (place % each * self.bits).astype(np.uint8)
            codes = (self.data[line, place // each] >> shift) & np.uint8((1 << self.bits) - 1)
        else:
            start, stop, _ = place.indices(self.length)
            data, skipped = self.data[line, start // each : -(-stop // each)], start % each
            lines = unpack_levels(data, self.bits, skipped + stop - start)[:, skipped:]
            codes = (lines.T if self.by_column else lines)[None][group]
        if self.signed:
            middle = 1 << (self.bits - 1)
            codes = (codes ^ codes.dtype.type(middle)).astype(np.int16) - np.int16(middle)
        return np.asarray(codes)

    def transposed(self) -> Packed:
        """Rows as columns."""
        return replace(self, by_column=not self.by_column)


@dataclass(frozen=True, eq=False)
class Dequantized:
    """(code − zero point) · scale, computed in float32.

    Attributes:
        codes: (1, rows, cols) whole numbers.
        scale: (1, row blocks, column blocks).
        zero: likewise; None for zero.
        block: rows and columns that a scale holds for.
        dtype: what the numbers are rounded to.
    """

    codes: Array | Packed = field(repr=False)
    scale: Array = field(repr=False)
    zero: Array | None = field(repr=False)
    block: tuple[int, int]
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    @property
    def shape(self) -> Shape:
        """Groups, rows, columns."""
        groups, rows, cols = self.codes.shape
        return groups, rows, cols

    @property
    def size(self) -> int:
        """Entries."""
        return int(np.prod(self.shape))

    @property
    def by_column(self) -> bool:
        """Whether the codes of a column follow each other."""
        if isinstance(self.codes, Packed):
            return self.codes.by_column
        return self.codes.strides[1] < self.codes.strides[2]

    @property
    def bound(self) -> float:
        """What no number exceeds, for all that can be said without the codes."""
        if self.dtype not in _MOST:
            return float("inf")
        most = 0.0 if self.zero is None else _largest(self.zero)
        largest = (_LARGEST_CODE + most) * _largest(self.scale)
        return largest if largest <= _MOST[self.dtype] else float("inf")

    def __getitem__(self, key: Any) -> Array:
        key = (key, slice(None), slice(None)) if not isinstance(key, tuple) else key
        group, row, col = key
        if self.by_column and isinstance(row, slice):
            # So that codes and scales lie in the same order.
            return self.transposed()[group, col, row].swapaxes(-2, -1)
        numbers = self.codes[key].astype(np.float32)
        if self.zero is not None:
            numbers -= self._of(self.zero, key)
        numbers *= self._of(self.scale, key)
        return numbers.astype(self.dtype, copy=False)

    def _of(self, values: Array, key: tuple[Any, Any, Any]) -> Array:
        """The scales or zero points of some codes."""
        group, *lines = key
        if isinstance(lines[0], np.ndarray):
            row, col = (line // block for line, block in zip(lines, self.block, strict=True))
            return np.asarray(values[group, row, col], np.float32)
        cuts = [
            _blocks(line, block, size)
            for line, block, size in zip(lines, self.block, self.shape[1:], strict=True)
        ]
        some = values[(group, *(covered for covered, _ in cuts))].astype(np.float32)
        for axis, (_, places) in enumerate(cuts, start=-2):
            some = some if places is None else some.take(places, axis=axis)
        return np.asarray(some)

    def transposed(self) -> Dequantized:
        """Rows as columns."""
        codes = self.codes
        return replace(
            self,
            codes=codes.transposed() if isinstance(codes, Packed) else codes.swapaxes(1, 2),
            scale=self.scale.swapaxes(1, 2),
            zero=None if self.zero is None else self.zero.swapaxes(1, 2),
            block=self.block[::-1],
        )

    def let_go(self) -> None:
        """Give memory of mapped files back."""
        let_go(self.codes.data if isinstance(self.codes, Packed) else self.codes)
        for part in (self.scale, self.zero):
            if part is not None:
                let_go(part)


def _largest(values: Array) -> float:
    return max(abs(float(values.min())), abs(float(values.max())))


def _blocks(line: slice, block: int, size: int) -> tuple[slice, npt.NDArray[np.int64] | None]:
    """The blocks that a slice covers, and which of them each place lies in, unless it is plain."""
    start, stop, _ = line.indices(size)
    if block == 1:
        return slice(start, stop), None
    if block >= size:
        return slice(0, 1), None
    first = start // block
    return slice(first, -(-stop // block)), np.arange(start, stop) // block - first
