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
def polar(word_0, word_1):
    """A squared radius and a direction (x, y): radius · x and radius · y are standard normal.

    The method of Box and Muller, from two words; all float32.

    Logarithm, sine and cosine are the polynomials of the Cephes library (S. L. Moshier), good to
    float32 rounding; a library's functions would not be vectorised.
    """
    u = float32(int32(uint32(word_0 >> uint32(1)))) * float32(2.0**-31) + float32(2.0**-32)
    bits = np.float32(u).view(np.int32)
    exponent = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))
    f = np.int32(int32(bits) - int32(exponent << int32(23))).view(np.float32) - float32(1.0)
    p = float32(7.0376836292e-2)
    p = p * f + float32(-1.1514610310e-1)
    p = p * f + float32(1.1676998740e-1)
    p = p * f + float32(-1.2420140846e-1)
    p = p * f + float32(1.4249322787e-1)
    p = p * f + float32(-1.6668057665e-1)
    p = p * f + float32(2.0000714765e-1)
    p = p * f + float32(-2.4999993993e-1)
    p = p * f + float32(3.3333331174e-1)
    square = f * f
    log = f + square * (p * f - float32(0.5)) + float32(exponent) * float32(math.log(2.0))

    # The top two bits are the quadrant, the rest an angle of -45 to 45 degrees in it.
    angle = float32(int32(uint32(word_1 << uint32(2)))) * float32(math.pi / 4 * 2.0**-31)
    t = angle * angle
    p = float32(-1.9515295891e-4)
    p = p * t + float32(8.3321608736e-3)
    p = p * t + float32(-1.6666654611e-1)
    sine = p * t * angle + angle
    p = float32(2.443315711809948e-5)
    p = p * t + float32(-1.388731625493765e-3)
    p = p * t + float32(4.166664568298827e-2)
    cosine = p * t * t - float32(0.5) * t + float32(1.0)
    turned = uint32(word_1 & uint32(0x40000000)) != uint32(0)
    x = -sine if turned else cosine
    y = cosine if turned else sine
    back = uint32(word_1 & uint32(0x80000000)) != uint32(0)
    x = -x if back else x
    y = -y if back else y
    return max(float32(-2.0) * log, float32(0.0)), x, y


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
        number = uint32(uint32(2) * uint32(first + pair))
        first_half, second_half = out[pair, 0], out[pair, 1]
        for p in range(len(first_half)):
            radius, x, y = polar(
                mixed(number, key_0[p], key_1[p]),
                mixed(uint32(number + uint32(1)), key_0[p], key_1[p]),
            )
            root = math.sqrt(radius)
            first_half[p], second_half[p] = root * x, root * y
