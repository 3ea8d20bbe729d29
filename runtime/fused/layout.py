"""Where the rows of a layer lie in the fused read's buffer of codes, and its weights packed for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from pimc.plan import Window
from pimc.runtime.fused.kernel import Rows, Shape
from pimc.runtime.fused.lanes import CHUNK, COLUMNS, LANES, VECTORS
from pimc.vectors import output_size

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """One layer's geometry for inputs of one size.

    Attributes:
        shape: sizes of a sample and of its buffer.
        rows: places of positions and rows.
        row_of: (2 · pairs) row of a block at each half of a pair, -1 where there is none; pairs
            of block ``t`` begin at ``rows.starts[t]``.
        size: spatial size of the output.
    """

    shape: Shape
    rows: Rows
    row_of: Ints
    size: tuple[int, ...]

    @staticmethod
    def of(
        window: Window | None,
        channels: int,
        size: tuple[int, int],
        groups: int,
        rows: int,
        row_block: int,
    ) -> Layout:
        """The layout of a layer of ``groups`` · ``rows`` rows for inputs (channels, *size).

        A matrix product is a convolution of a single point: its vectors lie along the width.
        """
        kernel, strides, dilations = (1, 1), (1, 1), (1, 1)
        pads, out = (0, 0, 0, 0), size
        if window is not None:
            flat = len(window.kernel) == 1
            inner = size[1:] if flat else size
            kernel, strides, dilations = (
                _two(v, 1) for v in (window.kernel, window.strides, window.dilations)
            )
            begin, end = np.split(np.asarray(window.resolved_pads(inner)), 2)
            pads = (*_two(tuple(begin), 0), *_two(tuple(end), 0))
            out = _two(output_size(inner, window), 1)
        reach = (kernel[1] - 1) * dilations[1]
        vectors = -(-out[1] // LANES)
        length = max(
            vectors * LANES + reach // strides[1], -(-(size[1] + pads[1] + pads[3]) // strides[1])
        )
        line, lines = strides[1] * length, size[0] + pads[0] + pads[2]
        plane = -(-channels // 2) * lines * line
        shape = Shape(channels, *size, pads[0], pads[1], strides[1], length, lines, plane)
        places, halves, starts = _pairs(kernel, groups, rows, row_block, channels)
        channel, y, x = places
        offsets = channel * shape.lines * line + y * dilations[0] * line
        x = x * dilations[1]
        offsets += x % strides[1] * length + x // strides[1]
        high, wide = np.divmod(np.arange(out[0] * vectors), vectors)
        odd = (0, len(high) % VECTORS)
        base = np.pad(high * strides[0] * line + wide * LANES, odd)
        position = np.pad(high * out[1] + wide * LANES, odd)
        valid = np.pad(np.minimum(LANES, out[1] - wide * LANES), odd)
        together = max(1, CHUNK // (LANES * len(base)))
        return Layout(
            shape,
            Rows(
                together,
                bases=(np.arange(together)[:, None] * plane + base).reshape(-1),
                samples=np.repeat(np.arange(together), len(base)),
                positions=np.tile(position, together),
                valid=np.tile(valid, together),
                offsets=offsets.astype(np.int32),
                starts=starts,
            ),
            halves,
            out,
        )

    @property
    def positions(self) -> int:
        """Input vectors of a sample."""
        return prod(self.size)

    def packed(
        self, values: npt.NDArray[np.int16], together: int = COLUMNS
    ) -> npt.NDArray[np.int32]:
        """(blocks, rows, columns) as :class:`~pimc.runtime.fused.kernel.Cells` wants it."""
        blocks, _, columns = values.shape
        wide = -(-columns // together)
        padded = np.zeros((blocks, values.shape[1] + 1, wide * together), np.int16)
        padded[:, : values.shape[1], :columns] = values  # the last row stays 0: no row
        parts = []
        for block in range(blocks):
            pairs = slice(2 * self.rows.starts[block], 2 * self.rows.starts[block + 1])
            chosen = padded[block, self.row_of[pairs]].reshape(-1, 2, wide, together)
            # groups of columns, pairs of rows, columns, the two rows of a pair
            parts.append(np.ascontiguousarray(chosen.transpose(2, 0, 3, 1)).view(np.int32))
        return np.concatenate([part.reshape(-1) for part in parts])


def _two(values: tuple[int, ...], one: int) -> tuple[int, int]:
    """Two dimensions; a single one is the width."""
    return (one, values[0]) if len(values) == 1 else (values[0], values[1])


def _pairs(
    kernel: tuple[int, int], groups: int, rows: int, row_block: int, channels: int
) -> tuple[Ints, Ints, Ints]:
    """Rows of every block by pairs of channels.

    Returns:
        (3, pairs) pair of channels, y and x in the kernel; (2 · pairs) rows of the block;
        (blocks + 1) first pair of every block.
    """
    places, halves, starts = [], [], [0]
    taps = kernel[0] * kernel[1]
    for group in range(groups):
        for first in range(0, rows, row_block):
            row = np.arange(first, min(first + row_block, rows))
            channel = group * (channels // groups) + row // taps
            place = channel // 2 * taps + row % taps
            unique, index = np.unique(place, return_inverse=True)
            half = np.full((len(unique), 2), -1)
            half[index, channel % 2] = row - first
            tap = unique % taps
            places.append(np.stack([unique // taps, tap // kernel[1], tap % kernel[1]]))
            halves.append(half.reshape(-1))
            starts.append(starts[-1] + len(unique))
    return np.concatenate(places, axis=1), np.concatenate(halves), np.asarray(starts)
