"""Where the rows of a layer lie in the fused read's buffer of codes; weights packed for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from pimc.plan.records import Window
from pimc.plan.vectors import output_size
from pimc.runtime.read.fused.lanes import (
    CHUNK,
    COLUMNS,
    LANES,
    VECTORS,
)
from pimc.runtime.read.fused.records import Rows, Shape

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """One layer's geometry for inputs of one size.

    Attributes:
        shape: sizes of a sample and of its buffer.
        rows: places of positions and rows.
        row_of: (2 · pairs) wordline of a block at each half of a pair, -1 where there is none;
            pairs of block ``t`` begin at ``rows.starts[t]``.
        sign: (2 · pairs) with which sign that wordline gets the input.
        size: spatial size of the output.
    """

    shape: Shape
    rows: Rows
    row_of: Ints
    sign: Ints
    size: tuple[int, ...]

    @staticmethod
    def of(
        window: Window | None,
        channels: int,
        size: tuple[int, int],
        groups: int,
        rows: int,
        row_block: int,
        drive: tuple[int, ...] = (1,),
    ) -> Layout:
        """The layout of a layer of ``groups`` · ``rows`` rows for inputs (channels, *size).

        A matrix product is a convolution of a single point: its vectors lie along the width.

        Args:
            row_block: wordlines of a block.
            drive: sign of the input on each wordline of a row.
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
        places, lines_of, signs, starts = _pairs(
            kernel, groups, rows, row_block, channels, np.asarray(drive)
        )
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
            lines_of,
            signs,
            out,
        )

    @property
    def positions(self) -> int:
        """Input vectors of a sample."""
        return prod(self.size)

    def packed(
        self, values: npt.NDArray[np.int16], together: int = COLUMNS, *, signed: bool = False
    ) -> npt.NDArray[np.int32]:
        """(blocks, wordlines, columns) as :class:`~pimc.runtime.read.fused.records.Cells` wants it.

        Args:
            together: columns that are multiplied together.
            signed: the values count with the sign of their wordline's input.
        """
        blocks, height, columns = values.shape
        wide = -(-columns // together)
        padded = np.zeros((blocks, height + 1, wide * together), np.int16)
        padded[:, :height, :columns] = values  # the last row stays 0: no wordline
        parts = []
        for block in range(blocks):
            pairs = slice(2 * self.rows.starts[block], 2 * self.rows.starts[block + 1])
            chosen = padded[block, self.row_of[pairs]]
            if signed:
                chosen = chosen * self.sign[pairs, None].astype(np.int16)
            split = chosen.reshape(-1, 2, wide, together)
            # groups of columns, pairs of rows, columns, the two rows of a pair
            parts.append(np.ascontiguousarray(split.transpose(2, 0, 3, 1)).view(np.int32))
        return np.concatenate([part.reshape(-1) for part in parts])


def _two(values: tuple[int, ...], one: int) -> tuple[int, int]:
    """Two dimensions; a single one is the width."""
    return (one, values[0]) if len(values) == 1 else (values[0], values[1])


def _pairs(
    kernel: tuple[int, int], groups: int, rows: int, row_block: int, channels: int, drive: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Wordlines of every block by pairs of channels.

    Returns:
        (3, pairs) pair of channels, y and x in the kernel; (2 · pairs) wordlines of the block,
        and their signs; (blocks + 1) first pair of every block.
    """
    places, lines, signs, starts = [], [], [], [0]
    taps, each = kernel[0] * kernel[1], len(drive)
    for group in range(groups):
        for first in range(0, rows * each, row_block):
            line = np.arange(first, min(first + row_block, rows * each))
            row, copy = np.divmod(line, each)
            channel = group * (channels // groups) + row // taps
            place = (channel // 2 * taps + row % taps) * each + copy
            unique, index = np.unique(place, return_inverse=True)
            half, sign = np.full((len(unique), 2), -1), np.ones((len(unique), 2), np.int64)
            half[index, channel % 2], sign[index, channel % 2] = line - first, drive[copy]
            pair, tap = np.divmod(unique // each, taps)
            places.append(np.stack([pair, tap // kernel[1], tap % kernel[1]]))
            lines.append(half.reshape(-1))
            signs.append(sign.reshape(-1))
            starts.append(starts[-1] + len(unique))
    return (
        np.concatenate(places, axis=1),
        np.concatenate(lines),
        np.concatenate(signs),
        np.asarray(starts),
    )
