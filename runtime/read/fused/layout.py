"""Where the rows of a layer lie in the fused read's buffers of codes; weights packed for them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import prod

import numpy as np
import numpy.typing as npt

from pimc.plan.records import Window
from pimc.plan.vectors import output_size
from pimc.runtime.die.fixed import Small
from pimc.runtime.read.fused.records import CHUNK, COLUMNS, LANES, VECTORS, Rows, Shape

Ints = npt.NDArray[np.int64]

#: Channels in a number of the buffer of codes, and in one of the buffer of their squares.
PAIR, QUAD = 2, 4
#: What a channel's part of such a number is.
_PART = {PAIR: np.int16, QUAD: np.int8}


def widths(columns: int) -> list[int]:
    """How many columns are multiplied together: fours, and one or two left over on their own."""
    fours, left = divmod(columns, COLUMNS)
    return [COLUMNS] * fours + ([COLUMNS] if left > 2 else [1] * left)


@dataclass(frozen=True, eq=False)
class Words:
    """The wordlines of every block by numbers that hold several channels each.

    Attributes:
        places: (3, words) number of its channels, y and x in the kernel.
        row_of: (words, channels) wordline of a block that a channel's part drives, -1 where there
            is none.
        sign: (words, channels) with which sign that wordline gets the input.
        starts: (blocks + 1) first word of every block, and the end of the last.
    """

    places: Ints
    row_of: Ints
    sign: Ints
    starts: Ints

    @staticmethod
    def of(
        together: int, kernel: tuple[int, int], groups: int, rows: int, row_block: int,
        channels: int, drive: Ints,
    ) -> Words:  # fmt: skip
        """Those of ``together`` channels each; the other arguments are those of a layout."""
        places, lines, signs, starts = [], [], [], [0]
        taps, each = kernel[0] * kernel[1], len(drive)
        for group in range(groups):
            for first in range(0, rows * each, row_block):
                line = np.arange(first, min(first + row_block, rows * each))
                row, copy = np.divmod(line, each)
                channel = group * (channels // groups) + row // taps
                place = (channel // together * taps + row % taps) * each + copy
                unique, index = np.unique(place, return_inverse=True)
                part = index, channel % together
                rows_here = np.full((len(unique), together), -1)
                sign = np.ones((len(unique), together), np.int64)
                rows_here[part], sign[part] = line - first, drive[copy]
                word, tap = np.divmod(unique // each, taps)
                places.append(np.stack([word, tap // kernel[1], tap % kernel[1]]))
                lines.append(rows_here)
                signs.append(sign)
                starts.append(starts[-1] + len(unique))
        return Words(
            np.concatenate(places, axis=1),
            np.concatenate(lines),
            np.concatenate(signs),
            np.asarray(starts),
        )

    def offsets(self, shape: Shape, dilations: tuple[int, int]) -> npt.NDArray[np.int32]:
        """Places of the words in a sample's buffer relative to a position."""
        word, y, x = self.places
        line, x = shape.stride * shape.length, x * dilations[1]
        offsets = word * shape.lines * line + y * dilations[0] * line
        offsets += x % shape.stride * shape.length + x // shape.stride
        found: npt.NDArray[np.int32] = offsets.astype(np.int32)
        return found

    def packed(self, values: Small, parts: list[int], *, signed: bool) -> npt.NDArray[np.int32]:
        """Values (blocks, wordlines, columns): block after block, as many columns as ``parts``."""
        blocks, height, columns = values.shape
        padded = np.zeros((height + 1, sum(parts)), np.int16)  # the last row is no wordline
        channels, runs = self.row_of.shape[1], [(n, len(list(same))) for n, same in groupby(parts)]
        found, end = np.empty(int(self.starts[-1]) * sum(parts), np.int32), 0
        for block in range(blocks):
            here = slice(self.starts[block], self.starts[block + 1])
            padded[:height, :columns] = values[block]
            chosen = padded[self.row_of[here]]
            if signed:
                chosen = chosen * self.sign[here, :, None].astype(np.int16)
            column = 0
            for width, count in runs:
                first, column = column, column + width * count
                part = chosen[:, :, first:column].reshape(-1, channels, count, width)
                # part after part: words, columns, the channels of a word
                turned = part.transpose(2, 0, 3, 1)
                lying = np.ascontiguousarray(turned, dtype=_PART[channels]).view(np.int32)
                start, end = end, end + lying.size
                found[start:end] = lying.reshape(-1)
        return found


@dataclass(frozen=True, eq=False)
class Layout:
    """One layer's geometry for inputs of one size.

    Attributes:
        shape: sizes of a sample and of its buffer.
        rows: places of positions and rows.
        pairs: of channels, as codes lie in their buffer.
        quads: of channels, as the codes' squares lie in theirs.
        size: spatial size of the output.
    """

    shape: Shape
    rows: Rows
    pairs: Words
    quads: Words
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
        pairs, quads = (
            Words.of(together, kernel, groups, rows, row_block, channels, np.asarray(drive))
            for together in (PAIR, QUAD)
        )
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
                offsets=pairs.offsets(shape, dilations),
                starts=pairs.starts,
                quads=quads.offsets(shape, dilations),
                quad_starts=quads.starts,
            ),
            pairs,
            quads,
            out,
        )

    @property
    def positions(self) -> int:
        """Input vectors of a sample."""
        return prod(self.size)

    def packed(self, values: npt.NDArray[np.int16]) -> npt.NDArray[np.int32]:
        """(blocks, wordlines, columns) that codes are multiplied with, signs of inputs included."""
        return self.pairs.packed(values, widths(values.shape[2]), signed=True)

    def packed_taps(self, values: npt.NDArray[np.int16]) -> npt.NDArray[np.int32]:
        """The same, every column on its own."""
        return self.pairs.packed(values, [1] * values.shape[2], signed=True)

    def packed_squares(self, values: Small) -> npt.NDArray[np.int32]:
        """(blocks, wordlines, columns) that squares of codes are multiplied with."""
        return self.quads.packed(values, widths(values.shape[2]), signed=False)

    def packed_common(self, values: Small) -> npt.NDArray[np.int32]:
        """The same, every column on its own."""
        return self.quads.packed(values, [1] * values.shape[2], signed=False)


def _two(values: tuple[int, ...], one: int) -> tuple[int, int]:
    """Two dimensions; a single one is the width."""
    return (one, values[0]) if len(values) == 1 else (values[0], values[1])
