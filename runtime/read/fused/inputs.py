"""The fused read's inputs: DAC codes of a sample, and what they put on its wordlines."""

from __future__ import annotations

import numpy as np
from numba import float32, int32

from pimc.runtime.read.fused.jit import inlined, inner, inner_contracted


@inner_contracted
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


@inner
def take_part(codes, sign, driven):
    """Codes of one sign, as what drivers of positive voltages alone put on the lines."""
    sign = int32(sign)
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        a, b = max(int32(sign * a), int32(0)), max(int32(sign * b), int32(0))
        driven[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@inner
def take_bit(codes, bit, driven):
    """One bit of the magnitude of every code, with the code's sign; in place, too."""
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        sign_a, sign_b = int32(a >> int32(31)), int32(b >> int32(31))
        a = int32(int32(int32(int32(a ^ sign_a) - sign_a) >> int32(bit)) & int32(1))
        b = int32(int32(int32(int32(b ^ sign_b) - sign_b) >> int32(bit)) & int32(1))
        a, b = int32(int32(a ^ sign_a) - sign_a), int32(int32(b ^ sign_b) - sign_b)
        driven[i] = int32(int32(b << int32(16)) | int32(a & int32(0xFFFF)))


@inner
def take_bent(codes, bent, driven):
    """What cells that are not linear make of the codes, by their magnitude; in place, too."""
    for i in range(len(codes)):
        a, b = int32(int32(codes[i] << int32(16)) >> int32(16)), int32(codes[i] >> int32(16))
        sign_a, sign_b = int32(a >> int32(31)), int32(b >> int32(31))
        a = bent[int32(int32(a ^ sign_a) - sign_a)]
        b = bent[int32(int32(b ^ sign_b) - sign_b)]
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


@inner
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
