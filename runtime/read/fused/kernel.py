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
from pimc.runtime.read.fused.jit import compiled, contracted, inlined
from pimc.runtime.read.fused.lanes import (
    multiply_four,
    multiply_four_quads,
    multiply_one,
    multiply_one_quads,
    multiply_one_rests,
)
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


@contracted
def to_codes(lower, upper, step, low, high, codes):
    """DAC codes of neighbouring positions of two channels, as pairs."""
    for i in range(len(codes)):
        a = int32(np.rint(min(max(lower[i] / step, low), high)))
        b = int32(np.rint(min(max(upper[i] / step, low), high)))
        codes[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@inlined
def fill(x, shape, drive, gathered, codes):
    """DAC codes of one sample ``x`` (channels, height, width) into its buffer.

    Args:
        gathered: (3, width) scratch, zero in the first row.
    """
    step, low, high = float32(drive.step), float32(drive.low), float32(drive.high)
    stride, line = shape.stride, shape.stride * shape.length
    nothing, below, above = gathered[0], gathered[1], gathered[2]
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
def take_part(codes, sign, driven):
    """Codes of one sign, as what drivers of positive voltages alone put on the lines."""
    sign = int32(sign)
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        a, b = max(int32(sign * a), int32(0)), max(int32(sign * b), int32(0))
        driven[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@compiled
def take_bit(codes, bit, driven):
    """One bit of the magnitude of every code, with the code's sign; in place, too."""
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        sign_a, sign_b = int32(a >> int32(31)), int32(b >> int32(31))
        a = int32(int32(int32(int32(a ^ sign_a) - sign_a) >> int32(bit)) & int32(1))
        b = int32(int32(int32(int32(b ^ sign_b) - sign_b) >> int32(bit)) & int32(1))
        a, b = int32(int32(a ^ sign_a) - sign_a), int32(int32(b ^ sign_b) - sign_b)
        driven[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@inlined
def held(code, linear, unit, half, up, rest_up):
    """What variance grows with, a drive's square or magnitude: 8 bits, and 8 of what is left."""
    value = int32(abs(code)) if linear else int32(code * code)
    # Shifts by a number that the compiler knows, else Numba makes them with 64 bits.
    whole = int32(int32(int32(value + half) * up) >> int32(16))
    rest = int32(int32(int32(value - int32(whole * unit)) * rest_up) >> int32(16))
    return whole, int32(rest & int32(0xFF))


@compiled
def square_quads(lower, upper, linear, shift, rest_shift, squares, rests):
    """Squares of neighbouring positions of four channels, whose codes lie in two pairs."""
    sixteen, unit = int32(16), int32(1 << shift)
    half, up, rest_up = int32(unit // 2), int32(1 << (16 - shift)), int32(1 << (16 - rest_shift))
    for i in range(len(squares)):
        a, ra = held(int32(int32(lower[i] << sixteen) >> sixteen), linear, unit, half, up, rest_up)
        b, rb = held(int32(lower[i] >> sixteen), linear, unit, half, up, rest_up)
        c, rc = held(int32(int32(upper[i] << sixteen) >> sixteen), linear, unit, half, up, rest_up)
        d, rd = held(int32(upper[i] >> sixteen), linear, unit, half, up, rest_up)
        low, high = int32(int32(b << int32(8)) | a), int32(int32(d << int32(8)) | c)
        squares[i] = int32(int32(high << sixteen) | low)
        low, high = int32(int32(rb << int32(8)) | ra), int32(int32(rd << int32(8)) | rc)
        rests[i] = int32(int32(high << sixteen) | low)


@inlined
def square(driven, shape, drive, nothing, squares, rests):
    """What variance grows with, for every drive of one sample: four channels a number.

    Args:
        nothing: zeros, as many as a pair of channels has in the buffer.
    """
    plane, pairs = shape.lines * shape.stride * shape.length, (shape.channels + 1) // 2
    for quad in range((pairs + 1) // 2):
        first, second = driven[2 * quad * plane :], nothing
        if 2 * quad + 1 < pairs:
            second = driven[(2 * quad + 1) * plane :]
        here = slice(quad * plane, (quad + 1) * plane)
        square_quads(
            first, second, drive.linear, drive.shift, drive.rest_shift, squares[here], rests[here]
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


@contracted
def draw(key_0, key_1, number, radius, x, y):
    """A pair of draws for every position, as :func:`polar` gives them."""
    number = scrambled(uint32(number))
    for p in range(len(radius)):
        radius[p], x[p], y[p] = polar(number, key_0[p], key_1[p])


@contracted
def spread(squares, rest, rest_unit, radius, direction, noise):
    """Noise of a reference column, in roots of its variance's quantum."""
    for p in range(len(noise)):
        variance = float32(squares[p]) + float32(rest[p]) * rest_unit
        noise[p] = direction[p] * math.sqrt(radius[p] * max(variance, float32(0.0)))


@contracted
def quiet(sums, slope, offset, low, high, exists, totals):
    """Convert a column at a chunk's positions without noise; returns how many were clipped."""
    clipped = int32(0)
    for p in range(len(totals)):
        level = np.rint(float32(sums[p]) * slope + offset)
        code = min(max(level, low), high)
        clipped = int32(clipped + int32(int32(code != level) & exists[p]))
        totals[p] += code
    return clipped


@contracted
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
def scale(values, gain, offset, tap, taken, least, place):
    """Outputs from code sums, less one tap."""
    for i in range(len(place)):
        place[i] = max(values[i] * gain + (offset - taken * tap[i]), least)


@compiled
def rectify(place, least):
    """Raise values to the least."""
    for i in range(len(place)):
        place[i] = max(place[i], least)


@inlined
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
    columns, each, least = reading.columns, len(outputs.quanta), float32(outputs.least)
    # Further taps come after: with them the least comes last.
    first_least = least if each <= 1 else float32(-np.inf)
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
                scale(total, gain, offset, tap, taken[0], first_least, place)
            else:
                scale(place, gain, offset, tap, taken[0], first_least, place)
            for more in range(1, each):
                if taken[more] != 0.0:
                    add(taps[row // columns * rest + more, here], -taken[more], place)
            if each > 1 and least > -np.inf:
                rectify(place, least)
        j = end


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
            bit, plane = drive.bits[step], step % planes
            phase = step // planes
            lines = codes
            if reading.phases > 1:
                take_part(lines, 1 - 2 * phase, driven)
                lines = driven
            if bit >= 0:
                take_bit(lines, bit, driven)
                lines = driven
            for number in range(here if len(cells.variance) > 0 else 0):
                place = number * size
                square(lines[place:], shape, drive, scratch.nothing, squares[place:], rests[place:])
            for chunk in range(0, here * each, CHUNK // LANES):
                part = slice(chunk, min(chunk + CHUNK // LANES, here * each))
                samples, positions, valid = (
                    rows.samples[part],
                    rows.positions[part],
                    rows.valid[part],
                )
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
            count = len(rows.bases[part]) * LANES
            finish(
                codes, part, rows, outputs, reading, totals, direct,
                sums[:count], taps, out[sample:],
            )  # fmt: skip
    return clipped
