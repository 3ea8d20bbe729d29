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
from pimc.runtime.read.fused.draws import mixed, philox, polar, scrambled
from pimc.runtime.read.fused.inputs import fill, square, take_bent, take_bit, take_part
from pimc.runtime.read.fused.jit import compiled, inlined, inner_contracted
from pimc.runtime.read.fused.lanes import (
    multiply_four,
    multiply_four_quads,
    multiply_one,
    multiply_one_quads,
    multiply_one_rests,
)
from pimc.runtime.read.fused.outputs import finish, scatter
from pimc.runtime.read.fused.records import (
    CHUNK,
    COLUMNS,
    LANES,
    Cells,
    Drive,
    Floats,
    Outputs,
    Reading,
    Rows,
    Scratch,
    Shape,
)


@compiled
def hashed(number, own_0, own_1, key_0, key_1):
    """Keys of input vectors by their numbers, twice over, in a stretch."""
    for p in range(len(number)):
        key_0[p] = mixed(number[p], own_0[p], own_1[p])
        key_1[p] = mixed(uint32(number[p] + uint32(1)), own_0[p], own_1[p])


@inlined
def vector_keys(
    reading, phase, first, samples, positions, valid, size, scratch, key_0, key_1, exists
):
    """Keys of a chunk's input vectors, and which of its positions exist.

    Args:
        phase: which of the reads of an input vector that have draws of their own.
        first: the chunk's first sample; ``samples`` counts from it.
        size: input vectors of a sample.
        scratch: (3, positions) uint32.
    """
    stretch = np.int64(-1)
    own_0, own_1 = uint32(0), uint32(0)
    for j in range(len(samples)):
        start = (first + samples[j]) * size + positions[j]
        for lane in range(LANES):
            p, number = j * LANES + lane, start + lane
            vector = reading.vector + number
            if reading.phases > 1:
                before = number // reading.each * reading.each
                vector += (reading.phases - 1) * before + phase * reading.each
            if vector // READ_STRETCH != stretch:
                stretch = vector // READ_STRETCH
                own_0, own_1 = philox(
                    uint32(stretch), uint32(stretch >> 32), uint32(reading.region),
                    uint32(READ_NOISE), uint32(reading.key_0), uint32(reading.key_1),
                )  # fmt: skip
            scratch[0, p], scratch[1, p] = own_0, own_1
            scratch[2, p] = uint32(2 * (vector % READ_STRETCH))
            exists[p] = int32(lane < valid[j] and number < reading.vectors)
    count = len(exists)
    hashed(scratch[2, :count], scratch[0, :count], scratch[1, :count], key_0, key_1)


@inner_contracted
def draw(key_0, key_1, number, radius, x, y):
    """A pair of draws for every position, as :func:`polar` gives them."""
    number = scrambled(uint32(number))
    for p in range(len(radius)):
        radius[p], x[p], y[p] = polar(number, key_0[p], key_1[p])


@inner_contracted
def spread(squares, rest, rest_unit, radius, direction, noise):
    """Noise of a reference column, in roots of its variance's quantum."""
    for p in range(len(noise)):
        variance = float32(squares[p]) + float32(rest[p]) * rest_unit
        noise[p] = direction[p] * math.sqrt(radius[p] * max(variance, float32(0.0)))


@inner_contracted
def quiet(sums, slope, offset, low, high, exists, totals):
    """Convert a column at a chunk's positions without noise; returns how many were clipped."""
    clipped = int32(0)
    for p in range(len(totals)):
        level = np.rint(float32(sums[p]) * slope + offset)
        code = min(max(level, low), high)
        clipped = int32(clipped + int32(int32(code != level) & exists[p]))
        totals[p] += code
    return clipped


@inner_contracted
def noisy(
    sums, squares, rest, typical, common, radius, direction, slope, offset, sigma, shared,
    low, high, exists, totals,
):  # fmt: skip
    """Convert a column at a chunk's positions; returns how many codes were clipped."""
    clipped = int32(0)
    for p in range(len(totals)):
        level = float32(sums[p]) * slope + (offset - common[p] * shared)
        variance = max(float32(squares[p]) + float32(rest[p]) * typical, float32(0.0))
        level += math.sqrt(radius[p] * variance) * (sigma * direction[p])
        level = np.rint(level)
        code = min(max(level, low), high)
        clipped = int32(clipped + int32(int32(code != level) & exists[p]))
        totals[p] += code
    return clipped


@inlined
def multiply(columns, codes, offsets, bases, weights, sums):
    """Currents of one to four columns."""
    if columns > 2:
        multiply_four(codes, offsets, bases, weights, sums)
    else:
        for c in range(columns):
            multiply_one(codes, offsets, bases, weights[c * len(offsets) :], sums[c])


@inlined
def multiply_quads(columns, squares, offsets, bases, weights, sums):
    """Variances of one to four columns."""
    if columns > 2:
        multiply_four_quads(squares, offsets, bases, weights, sums)
    else:
        for c in range(columns):
            multiply_one_quads(squares, offsets, bases, weights[c * len(offsets) :], sums[c])


@inlined
def convert(lines, squares, rests, plane, part, rows, cells, reading, drawn, scratch, totals):
    """Add one chunk's codes to ``totals``: every block, every column.

    Args:
        scratch: whole numbers (2 · COLUMNS + 1, CHUNK), and float32 (3 + reads, CHUNK), zero.
        part: the chunk's vectors, a slice of ``rows.bases``.
        drawn: keys of its vectors, and which positions exist.
    """
    key_0, key_1, exists = drawn
    clipped = 0
    blocks, bases = len(rows.starts) - 1, rows.bases[part]
    count, loud = len(exists), len(cells.variance) > 0
    wide = (reading.columns + COLUMNS - 1) // COLUMNS
    last = reading.columns - (wide - 1) * COLUMNS
    # As many columns as their weights are packed for.
    width = (wide - 1) * COLUMNS + (COLUMNS if last == 3 else last)
    low, high = float32(reading.low), float32(reading.high)
    whole, real = scratch
    sums, variances, rest = whole[:COLUMNS], whole[COLUMNS : 2 * COLUMNS], whole[2 * COLUMNS]
    radius, directions, common = real[0, :count], real[1:3], real[3:]
    rest_unit = float32(cells.rest_unit)
    for block in range(blocks):
        start, end = rows.starts[block], rows.starts[block + 1]
        offsets, number = rows.offsets[start:end], plane * blocks + block
        quad_start, quad_end = rows.quad_starts[block], rows.quad_starts[block + 1]
        quads = rows.quads[quad_start:quad_end]
        for read in range(reading.reads):
            weights = cells.common[quad_start * reading.reads + read * len(quads) :]
            multiply_one_quads(squares, quads, bases, weights, variances[0])
            if len(cells.rest) > 0:
                multiply_one_rests(rests, quads, bases, weights, rest)
            pair = uint32(READ_REFERENCE + number * reading.reads + read)
            draw(key_0, key_1, pair, radius, directions[0], directions[1])
            spread(variances[0], rest, rest_unit, radius, directions[0], common[read, :count])
        if len(cells.rest) > 0:
            multiply_one_rests(rests, quads, bases, cells.rest[quad_start:], rest)
        for group in range(wide):
            here = COLUMNS if group < wide - 1 else last
            place = start * width + group * COLUMNS * len(offsets)
            multiply(here, lines, offsets, bases, cells.current[place:], sums)
            if loud:
                place = quad_start * width + group * COLUMNS * len(quads)
                multiply_quads(here, squares, quads, bases, cells.variance[place:], variances)
            for c in range(here):
                column = group * COLUMNS + c
                total = totals[block // reading.row_blocks * wide * COLUMNS + column, :count]
                slope, offset = cells.slope[block, column], cells.offset[block, column]
                if not loud:
                    clipped += quiet(sums[c], slope, offset, low, high, exists, total)
                    continue
                if c % 2 == 0:
                    pair = uint32((number * wide * COLUMNS + column) // 2)
                    draw(key_0, key_1, pair, radius, directions[0], directions[1])
                clipped += noisy(
                    sums[c], variances[c], rest, cells.typical[block, column],
                    common[cells.read[block, column]],
                    radius, directions[c % 2], slope, offset,
                    cells.sigma[block, column], cells.shared[block, column],
                    low, high, exists, total,
                )  # fmt: skip
    return clipped


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
    scratch: Scratch,
) -> int:
    """Read samples ``first`` to ``last``, and make outputs of their codes.

    Args:
        x: (samples, channels, height, width) float32.
        out: (samples, groups · columns, positions) float32, filled with sums over row blocks and
            bit planes, or what ``outputs`` makes of them.
        scratch: of these sizes, zero.

    Returns:
        How many codes were clipped.
    """
    size = shape.size
    codes, driven, squares, rests = scratch.codes, scratch.driven, scratch.squares, scratch.rests
    totals, keys, exists = scratch.totals, scratch.keys, scratch.exists
    taps, sums, work = scratch.taps, scratch.sums, (scratch.whole, scratch.real)
    wide, clipped = (reading.columns + COLUMNS - 1) // COLUMNS, 0
    # One read needs no sums in memory; several bit planes are added up there first.
    direct = len(outputs.gain) > 0 and len(drive.bits) == 1
    last_pass = len(outputs.gain) > 0 and not direct
    if not direct:
        out[first:last] = 0
    each, planes = len(rows.bases) // rows.together, len(drive.bits) // reading.phases
    for sample in range(first, last, rows.together):
        here = min(rows.together, last - sample)
        for number in range(here):
            fill(x[sample + number], shape, drive, scratch.gathered, codes[number * size :])
        for step in range(len(drive.bits)):
            bit, plane, phase = drive.bits[step], step % planes, step // planes
            lines = codes
            if reading.phases > 1:
                take_part(lines, 1 - 2 * phase, driven)
                lines = driven
            if bit >= 0:
                take_bit(lines, bit, driven)
                lines = driven
            if len(drive.bent) > 0:
                take_bent(lines, drive.bent, driven)
                lines = driven
            for number in range(here if len(cells.variance) > 0 else 0):
                place = number * size
                square(lines[place:], shape, drive, scratch.nothing, squares[place:], rests[place:])
            for chunk in range(0, here * each, CHUNK // LANES):
                part = slice(chunk, min(chunk + CHUNK // LANES, here * each))
                samples, positions = rows.samples[part], rows.positions[part]
                valid = rows.valid[part]
                count = len(samples) * LANES
                vector_keys(
                    reading, phase, sample, samples, positions, valid, out.shape[2], scratch.hashes,
                    keys[0, :count], keys[1, :count], exists[:count],
                )  # fmt: skip
                totals[:, :count] = 0
                drawn = (keys[0, :count], keys[1, :count], exists[:count])
                clipped += convert(
                    lines, squares, rests, plane, part, rows, cells, reading, drawn, work, totals
                )
                if direct:
                    finish(
                        codes, part, rows, outputs, reading, totals, direct,
                        sums[:count], taps, out[sample:],
                    )  # fmt: skip
                else:
                    scatter(
                        totals, samples, positions, valid, reading.columns, wide,
                        drive.weights[step], out[sample:],
                    )  # fmt: skip
        for chunk in range(0, here * each if last_pass else 0, CHUNK // LANES):
            part = slice(chunk, min(chunk + CHUNK // LANES, here * each))
            finish(
                codes, part, rows, outputs, reading, totals, direct,
                sums[: len(rows.bases[part]) * LANES], taps, out[sample:],
            )  # fmt: skip
    return clipped
