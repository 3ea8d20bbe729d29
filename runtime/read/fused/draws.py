"""The draws of read noise, for the fused read: the same numbers as ``pimc.runtime.read.noise``."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import float32, int32, uint32, uint64

from pimc.runtime.read.fused.jit import contracted, inlined

_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Two words of Philox4x32-10; every argument is a uint32."""
    for _ in range(10):
        product_0, product_1 = uint64(c0) * _MULTIPLIERS[0], uint64(c2) * _MULTIPLIERS[1]
        high_0, high_1 = uint32(product_0 >> _SHIFT), uint32(product_1 >> _SHIFT)
        c0, c1, c2, c3 = (
            uint32(high_1 ^ uint32(c1 ^ k0)),
            uint32(product_1),
            uint32(high_0 ^ uint32(c3 ^ k1)),
            uint32(product_0),
        )
        k0, k1 = uint32(k0 + _WEYL[0]), uint32(k1 + _WEYL[1])
    return c0, c1


@inlined
def mixed(number, key_0, key_1):
    """A uint32 hashed under two uint32 keys."""
    word = uint32(number + key_0)
    word = uint32(word ^ uint32(word >> uint32(16)))
    word = uint32(word * uint32(0x21F0AAAD))
    word = uint32(word ^ uint32(word >> uint32(15)))
    word = uint32(word ^ key_1)
    word = uint32(word * uint32(0x735A2D97))
    return uint32(word ^ uint32(word >> uint32(15)))


@inlined
def scrambled(number):
    """A uint32 hashed."""
    word = uint32(number ^ uint32(number >> uint32(16)))
    word = uint32(word * uint32(0x21F0AAAD))
    word = uint32(word ^ uint32(word >> uint32(15)))
    word = uint32(word * uint32(0x735A2D97))
    return uint32(word ^ uint32(word >> uint32(15)))


@inlined
def polar(scrambled_number, key_0, key_1):
    """A squared radius and a direction (x, y): radius · x and radius · y are standard normal.

    The method of Box and Muller; all float32. Radius and angle come from one word, as two
    multiples of it: the pairs of both, for all words, are a lattice without gaps. Logarithm, sine
    and cosine are polynomials good to 1.5e-4; all their moments up to the fourth are to 3e-5.
    """
    word = uint32(uint32(scrambled_number ^ key_0) * uint32(0x21F0AAAD))
    word = uint32(uint32(word ^ uint32(word >> uint32(15))) ^ key_1)
    distance, turn = uint32(word * uint32(0x735A2D97)), uint32(word * uint32(0x5E56E467))

    # -2 ln of the word's first 31 bits over 2³¹: of the exponent, and of the mantissa 1 + f.
    bits = np.float32(float32(int32(uint32(distance >> uint32(1)))) + float32(0.5)).view(np.int32)
    exponent = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))
    f = np.int32(int32(bits) - int32(exponent << int32(23))).view(np.float32) - float32(1.0)
    p = float32(0.45696403)
    p = p * f + float32(-0.71742056)
    p = p * f + float32(1.00493056)
    p = p * f + float32(-1.99870465)
    radius = p * f + float32(int32(int32(31) - exponent)) * float32(2.0 * math.log(2.0))

    # The top two bits are the signs, the rest an angle of 0 to 90 degrees, here -1 to 1.
    a = float32(int32(uint32(turn << uint32(2)))) * float32(2.0**-31)
    s = a * a
    even = (float32(0.01086951) * s + float32(-0.21796220)) * s + float32(0.70709973)
    odd = (float32(-0.05492972) * s + float32(0.55482245)) * a
    sign_x = uint32(turn & uint32(0x80000000))
    sign_y = uint32(uint32(turn << uint32(1)) & uint32(0x80000000))
    x = np.uint32(np.float32(even - odd).view(np.uint32) ^ sign_x).view(np.float32)
    y = np.uint32(np.float32(even + odd).view(np.uint32) ^ sign_y).view(np.float32)
    return max(radius, float32(0.0)), x, y


@contracted
def fill_normals(
    key_0: npt.NDArray[np.uint32],
    key_1: npt.NDArray[np.uint32],
    first: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Standard normal numbers (pairs, 2, vectors) for the pairs from ``first`` on.

    The compiled form of :func:`pimc.runtime.read.noise.normals`; keys are uint32.
    """
    for pair in range(out.shape[0]):
        number = scrambled(uint32(first + pair))
        first_half, second_half = out[pair, 0], out[pair, 1]
        for p in range(len(first_half)):
            radius, x, y = polar(number, key_0[p], key_1[p])
            root = math.sqrt(radius)
            first_half[p], second_half[p] = root * x, root * y
