"""The fused read: from a layer's input to sums of ADC codes, without anything in between in memory.

A sample's DAC codes are kept as pairs of channels (two 16-bit numbers in one int32), padded,
columns parted by stride, so that every row of a convolution finds eight neighbouring positions in
eight neighbouring numbers: no input vector is ever cut out. What one conversion needs, the current
and the variance of its noise, comes out of whole-number multiplications and is exact; draw,
rounding and the sum over tiles follow while it is in the nearest cache.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, uint32

from pimc.runtime.physics.streams import READ_NOISE, READ_REFERENCE, READ_STRETCH
from pimc.runtime.read.fused.draws import mixed, philox, polar
from pimc.runtime.read.fused.jit import compiled, contracted
from pimc.runtime.read.fused.lanes import (
    CHUNK,
    COLUMNS,
    LANES,
    multiply_four,
    multiply_one,
)
from pimc.runtime.read.fused.records import (
    Cells,
    Drive,
    Floats,
    Outputs,
    Reading,
    Rows,
    Shape,
)


@contracted
def to_codes(lower, upper, step, low, high, codes):
    """DAC codes of neighbouring positions of two channels, as pairs."""
    for i in range(len(codes)):
        a = int32(np.rint(min(max(lower[i] / step, low), high)))
        b = int32(np.rint(min(max(upper[i] / step, low), high)))
        codes[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@compiled
def fill(x, shape, drive, codes):
    """DAC codes of one sample ``x`` (channels, height, width) into its buffer."""
    step, low, high = float32(drive.step), float32(drive.low), float32(drive.high)
    stride, line = shape.stride, shape.stride * shape.length
    nothing = np.zeros(shape.width, np.float32)
    below, above = np.zeros_like(nothing), np.zeros_like(nothing)
    for pair in range((shape.channels + 1) // 2):
        alone = 2 * pair + 1 == shape.channels
        for y in range(shape.height):
            lower = x[2 * pair, y]
            upper = nothing if alone else x[2 * pair + 1, y]
            begin = (pair * shape.lines + y + shape.pad_top) * line
            if stride == 1:
                start = begin + shape.pad_left
                to_codes(lower, upper, step, low, high, codes[start : start + shape.width])
                continue
            for phase in range(stride):
                first = (phase - shape.pad_left) % stride
                start = begin + phase * shape.length + (first + shape.pad_left) // stride
                count = (shape.width - first + stride - 1) // stride
                for i in range(count):
                    below[i], above[i] = lower[first + i * stride], upper[first + i * stride]
                to_codes(below, above, step, low, high, codes[start : start + count])


@compiled
def take_bit(codes, bit, driven):
    """One bit of the magnitude of every code, with the code's sign."""
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        sign_a, sign_b = int32(a >> int32(31)), int32(b >> int32(31))
        a = int32(int32(int32(int32(a ^ sign_a) - sign_a) >> int32(bit)) & int32(1))
        b = int32(int32(int32(int32(b ^ sign_b) - sign_b) >> int32(bit)) & int32(1))
        a, b = int32(int32(a ^ sign_a) - sign_a), int32(int32(b ^ sign_b) - sign_b)
        driven[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@compiled
def square(driven, linear, shift, squares):
    """What variance grows with, for every drive: its square, rounded, or its magnitude."""
    half = int32(int32(int32(1) << int32(shift)) >> int32(1))
    for i in range(len(driven)):
        a, b = int32(int32(driven[i] << int32(16)) >> int32(16)), int32(driven[i] >> int32(16))
        if linear:
            a, b = int32(abs(a)), int32(abs(b))
        else:
            a = int32(int32(int32(a * a) + half) >> int32(shift))
            b = int32(int32(int32(b * b) + half) >> int32(shift))
        squares[i] = int32(int32(b << int32(16)) | a)


@compiled
def hashed(number, own_0, own_1, key_0, key_1):
    """Keys of input vectors by their numbers, twice over, in a stretch."""
    for p in range(len(number)):
        key_0[p] = mixed(number[p], own_0[p], own_1[p])
        key_1[p] = mixed(uint32(number[p] + uint32(1)), own_0[p], own_1[p])


@compiled
def vector_keys(reading, first, samples, positions, valid, size, scratch, key_0, key_1, exists):
    """Keys of a chunk's input vectors, and which of its positions exist.

    Args:
        first: the chunk's first sample; ``samples`` counts from it.
        size: input vectors of a sample.
        scratch: (3, positions) uint32.
    """
    stretch = np.int64(-1)
    own_0, own_1 = uint32(0), uint32(0)
    for j in range(len(samples)):
        start = reading.vector + (first + samples[j]) * size + positions[j]
        for lane in range(LANES):
            p, vector = j * LANES + lane, start + lane
            if vector // READ_STRETCH != stretch:
                stretch = vector // READ_STRETCH
                own_0, own_1 = philox(
                    uint32(stretch), uint32(stretch >> 32), uint32(reading.region),
                    uint32(READ_NOISE), uint32(reading.key_0), uint32(reading.key_1),
                )  # fmt: skip
            scratch[0, p], scratch[1, p] = own_0, own_1
            scratch[2, p] = uint32(2 * (vector % READ_STRETCH))
            exists[p] = int32(lane < valid[j] and vector - reading.vector < reading.vectors)
    count = len(exists)
    hashed(scratch[2, :count], scratch[0, :count], scratch[1, :count], key_0, key_1)


@contracted
def draw(key_0, key_1, number, radius, x, y):
    """A pair of draws for every position, as :func:`polar` gives them."""
    number = uint32(uint32(2) * number)
    for p in range(len(radius)):
        radius[p], x[p], y[p] = polar(
            mixed(number, key_0[p], key_1[p]),
            mixed(uint32(number + uint32(1)), key_0[p], key_1[p]),
        )


@contracted
def spread(squares, radius, direction, noise):
    """Noise of a reference column, in roots of its variance's quantum."""
    for p in range(len(noise)):
        noise[p] = direction[p] * math.sqrt(radius[p] * float32(squares[p]))


@contracted
def quiet(sums, slope, offset, low, high, exists, clipped, totals):
    """Convert a column at a chunk's positions without noise; count clipped codes."""
    for p in range(len(totals)):
        level = np.rint(float32(sums[p]) * slope + offset)
        code = min(max(level, low), high)
        clipped[p] = int32(clipped[p] + int32(int32(code != level) & exists[p]))
        totals[p] += code


@contracted
def noisy(
    sums, squares, common, radius, direction, slope, offset, sigma, shared,
    low, high, exists, clipped, totals,
):  # fmt: skip
    """Convert a column at a chunk's positions; count clipped codes."""
    for p in range(len(totals)):
        level = float32(sums[p]) * slope + offset - common[p] * shared
        level += math.sqrt(radius[p] * float32(squares[p])) * sigma * direction[p]
        level = np.rint(level)
        code = min(max(level, low), high)
        clipped[p] = int32(clipped[p] + int32(int32(code != level) & exists[p]))
        totals[p] += code


@compiled
def run_of(j, samples, positions, valid):
    """End of the vectors from ``j`` on whose positions follow each other, and their positions."""
    end = j + 1
    while (
        end < len(samples)
        and samples[end] == samples[j]
        and valid[end - 1] == LANES
        and positions[end] == positions[end - 1] + LANES
    ):
        end += 1
    return end, positions[end - 1] + valid[end - 1] - positions[j]


@contracted
def add(values, weight, place):
    """Add weighted values."""
    for i in range(len(place)):
        place[i] += weight * values[i]


@contracted
def scale(values, gain, offset, tap, taken, place):
    """Outputs from code sums, less one tap."""
    for i in range(len(place)):
        place[i] = values[i] * gain + (offset - taken * tap[i])


@compiled
def scatter(totals, samples, positions, valid, columns, wide, weight, out):
    """Add a chunk's totals to (samples, groups · columns, positions)."""
    j = 0
    while j < len(samples):
        end, count = run_of(j, samples, positions, valid)
        for row in range(out.shape[1]):
            total = totals[row // columns * wide * COLUMNS + row % columns]
            place = out[samples[j], row, positions[j] : positions[j] + count]
            add(total[j * LANES : j * LANES + count], weight, place)
        j = end


@compiled
def finish(codes, part, rows, outputs, reading, totals, direct, sums, taps, out):
    """Make outputs of a chunk's code sums.

    Args:
        part: the chunk's vectors, a slice of ``rows.bases``.
        totals: the chunk's code sums.
        direct: these are all; else the sums are in ``out``.
        sums: (positions,) scratch.
        taps: (groups · taps, at least one; positions) scratch, zero.
    """
    bases, samples = rows.bases[part], rows.samples[part]
    positions, valid = rows.positions[part], rows.valid[part]
    columns, each = reading.columns, len(outputs.quanta)
    wide, rest = (columns + COLUMNS - 1) // COLUMNS * COLUMNS, max(each, 1)
    taps[: len(taps) if each else 0] = 0
    for block in range(len(rows.starts) - 1 if each else 0):
        start, end = rows.starts[block], rows.starts[block + 1]
        for tap in range(each):
            weights = outputs.weights[start * each + tap * (end - start) :]
            multiply_one(codes, rows.offsets[start:end], bases, weights, sums)
            add(sums, outputs.quanta[tap], taps[block // reading.row_blocks * each + tap])
    j = 0
    while j < len(samples):
        end, count = run_of(j, samples, positions, valid)
        here = slice(j * LANES, j * LANES + count)
        for row in range(out.shape[1]):
            place = out[samples[j], row, positions[j] : positions[j] + count]
            tap, taken = taps[row // columns * rest, here], outputs.taken[row]
            gain, offset = outputs.gain[row], outputs.offset[row]
            if direct:
                total = totals[row // columns * wide + row % columns, here]
                scale(total, gain, offset, tap, taken[0], place)
            else:
                scale(place, gain, offset, tap, taken[0], place)
            for more in range(1, each):
                if taken[more] != 0.0:
                    add(taps[row // columns * rest + more, here], -taken[more], place)
        j = end


@compiled
def convert(lines, squares, plane, part, rows, cells, reading, drawn, totals, clipped):
    """Add one chunk's codes to ``totals``: every block, every column.

    Args:
        part: the chunk's vectors, a slice of ``rows.bases``.
        drawn: keys of its vectors, and which positions exist.
    """
    key_0, key_1, exists = drawn
    blocks, bases = len(rows.starts) - 1, rows.bases[part]
    count, loud = len(exists), len(cells.variance) > 0
    wide = (reading.columns + COLUMNS - 1) // COLUMNS
    low, high = float32(reading.low), float32(reading.high)
    sums, variances = np.empty((COLUMNS, count), np.int32), np.empty((COLUMNS, count), np.int32)
    common = np.zeros((max(reading.reads, 1), count), np.float32)
    radius, directions = np.empty(count, np.float32), np.empty((2, count), np.float32)
    for block in range(blocks):
        start, end = rows.starts[block], rows.starts[block + 1]
        offsets, number = rows.offsets[start:end], plane * blocks + block
        for read in range(reading.reads):
            weights = cells.common[start * reading.reads + read * (end - start) :]
            multiply_one(squares, offsets, bases, weights, variances[0])
            pair = uint32(READ_REFERENCE + number * reading.reads + read)
            draw(key_0, key_1, pair, radius, directions[0], directions[1])
            spread(variances[0], radius, directions[0], common[read])
        for group in range(wide):
            place = (start * wide + group * (end - start)) * COLUMNS
            multiply_four(lines, offsets, bases, cells.current[place:], sums)
            if loud:
                multiply_four(squares, offsets, bases, cells.variance[place:], variances)
            for c in range(COLUMNS):
                column = group * COLUMNS + c
                total = totals[block // reading.row_blocks * wide * COLUMNS + column, :count]
                slope, offset = cells.slope[block, column], cells.offset[block, column]
                if not loud:
                    quiet(sums[c], slope, offset, low, high, exists, clipped, total)
                    continue
                if c % 2 == 0:
                    pair = uint32((number * wide * COLUMNS + column) // 2)
                    draw(key_0, key_1, pair, radius, directions[0], directions[1])
                noisy(
                    sums[c], variances[c], common[cells.read[block, column]],
                    radius, directions[c % 2], slope, offset,
                    cells.sigma[block, column], cells.shared[block, column],
                    low, high, exists, clipped, total,
                )  # fmt: skip


@compiled
def read_samples(
    x: Floats,
    out: Floats,
    first: int,
    last: int,
    shape: Shape,
    drive: Drive,
    rows: Rows,
    cells: Cells,
    reading: Reading,
    outputs: Outputs,
) -> int:
    """Read samples ``first`` to ``last``, and make outputs of their codes.

    Args:
        x: (samples, channels, height, width) float32.
        out: (samples, groups · columns, positions) float32, filled with sums over row blocks and
            bit planes, or what ``outputs`` makes of them.

    Returns:
        How many codes were clipped.
    """
    size = shape.size
    # A vector may be read past the end of the last line.
    codes = np.zeros(rows.together * size + LANES, np.int32)
    driven, squares = np.zeros_like(codes), np.zeros_like(codes)
    wide = (reading.columns + COLUMNS - 1) // COLUMNS
    groups = (len(rows.starts) - 1) // reading.row_blocks
    totals = np.empty((groups * wide * COLUMNS, CHUNK), np.float32)
    keys, exists = np.zeros((2, CHUNK), np.uint32), np.zeros(CHUNK, np.int32)
    clipped, scratch = np.zeros(CHUNK, np.int32), np.zeros((3, CHUNK), np.uint32)
    # One read needs no sums in memory; several bit planes are added up there first.
    direct = len(outputs.gain) > 0 and len(drive.bits) == 1
    last_pass = len(outputs.gain) > 0 and not direct
    if not direct:
        out[first:last] = 0
    taps = np.zeros((groups * max(len(outputs.quanta), 1), CHUNK), np.float32)
    sums = np.empty(CHUNK, np.int32)
    each = len(rows.bases) // rows.together
    for sample in range(first, last, rows.together):
        here = min(rows.together, last - sample)
        for number in range(here):
            fill(x[sample + number], shape, drive, codes[number * size :])
        for plane in range(len(drive.bits)):
            bit = drive.bits[plane]
            if bit >= 0:
                take_bit(codes, bit, driven)
            lines = driven if bit >= 0 else codes
            if len(cells.variance) > 0:
                square(lines, drive.linear, drive.shift, squares)
            for chunk in range(0, here * each, CHUNK // LANES):
                part = slice(chunk, min(chunk + CHUNK // LANES, here * each))
                samples, positions, valid = (
                    rows.samples[part],
                    rows.positions[part],
                    rows.valid[part],
                )
                count = len(samples) * LANES
                vector_keys(
                    reading, sample, samples, positions, valid, out.shape[2], scratch,
                    keys[0, :count], keys[1, :count], exists[:count],
                )  # fmt: skip
                totals[:, :count] = 0
                drawn = (keys[0, :count], keys[1, :count], exists[:count])
                convert(lines, squares, plane, part, rows, cells, reading, drawn, totals, clipped)
                if direct:
                    finish(
                        codes, part, rows, outputs, reading, totals, True,
                        sums[:count], taps, out[sample:],
                    )  # fmt: skip
                else:
                    scatter(
                        totals, samples, positions, valid, reading.columns, wide,
                        drive.weights[plane], out[sample:],
                    )  # fmt: skip
        for chunk in range(0, here * each if last_pass else 0, CHUNK // LANES):
            part = slice(chunk, min(chunk + CHUNK // LANES, here * each))
            count = len(rows.bases[part]) * LANES
            finish(
                codes, part, rows, outputs, reading, totals, False,
                sums[:count], taps, out[sample:],
            )  # fmt: skip
    return int(clipped.sum())
