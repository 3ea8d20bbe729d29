"""The draws of read noise, counter-based.

A draw depends on the seed, the region, the input vector's number and the column alone, so that
noise is the same for any batch size, thread count and order of arrays, on any processor. Every
1,024 input vectors have keys of their own from Philox4x32-10 (DOI 10.1145/2063384.2063405);
hashing a vector's number under them gives the vector's keys, hashing a column's number under those
a word, and that becomes two normal numbers (G. E. P. Box and M. E. Muller, 1958, DOI
10.1214/aoms/1177706645), one for each column of a pair. ``pimc.runtime.read.fused.draws`` makes the
same numbers on the processor.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from pimc.runtime.physics.philox import philox
from pimc.runtime.physics.streams import READ_NOISE, READ_STRETCH

_WORD = 0xFFFFFFFF
_QUARTER, _EIGHTH = 1 << 30, 1 << 29


def vector_keys(key: tuple[int, int], region: int, first: int, count: int) -> torch.Tensor:
    """Keys of the input vectors ``first`` to ``first + count`` of a region: (2, count) int64.

    Args:
        key: from :func:`~pimc.runtime.physics.streams.read_key`.
        region: number of the region, below 2**32.
        first: how many vectors it has read before.
        count: how many keys.
    """
    vector = np.arange(first, first + count, dtype=np.int64)
    stretch, index = np.unique(vector // READ_STRETCH, return_inverse=True)
    words = philox(
        (
            (stretch & _WORD).astype(np.uint32),
            (stretch >> 32).astype(np.uint32),
            np.asarray(region, np.uint32),
            np.asarray(READ_NOISE, np.uint32),
        ),
        key,
    )
    own = torch.from_numpy(np.stack(words[:2])[:, index].astype(np.int64))
    number = torch.from_numpy(2 * (vector % READ_STRETCH))
    return torch.stack([_mixed(number, own), _mixed(number + 1, own)])


def pairs(columns: int) -> int:
    """Pairs of draws that the columns of a block have: theirs are numbered in fours."""
    return -(-columns // 4) * 2


def normals(keys: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """Standard normal numbers: (count, 2, vectors) float32 for the pairs from ``first`` on.

    Args:
        keys: (2, vectors) int64, from :func:`vector_keys`.
        first: number of the first pair.
        count: how many pairs.
    """
    if keys.device.type == "cpu":
        from pimc.runtime.read.fused.draws import fill_normals  # Numba takes long to import

        drawn = torch.empty(count, 2, keys.shape[1])
        words = keys.numpy().astype(np.uint32)
        fill_normals(words[0], words[1], first, drawn.numpy())
        return drawn
    return torch_normals(keys, first, count)


def torch_normals(keys: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """:func:`normals` by operators of torch, for any of its devices."""
    number = torch.arange(first, first + count, device=keys.device)[:, None] & _WORD
    word = (_scrambled(number) ^ keys[0]) * 0x21F0AAAD & _WORD
    word = word ^ word >> 15 ^ keys[1]
    radius = _squared_radius(word * 0x735A2D97 & _WORD).sqrt()
    turn = word * 0x5E56E467 & _WORD
    # The top two bits are the signs, the rest an angle of 0 to 90 degrees, here -1 to 1.
    part = ((turn & _QUARTER - 1) ^ _EIGHTH) - _EIGHTH
    angle = part.float() * 2.0**-29
    square = angle * angle
    even = (0.01086951 * square - 0.21796220) * square + 0.70709973
    odd = (0.55482245 - 0.05492972 * square) * angle
    x = torch.where(turn >> 31 == 1, odd - even, even - odd)
    y = torch.where(turn >> 30 & 1 == 1, -even - odd, even + odd)
    return torch.stack([radius * x, radius * y], dim=1)


def _squared_radius(word: torch.Tensor) -> torch.Tensor:
    """-2 ln of a word's first 31 bits over 2³¹, by the polynomial of the compiled draws."""
    bits = ((word >> 1).float() + 0.5).view(torch.int32)
    exponent = bits - 0x3F3504F3 >> 23
    f = (bits - (exponent << 23)).view(torch.float32) - 1.0
    p = ((0.45696403 * f - 0.71742056) * f + 1.00493056) * f - 1.99870465
    return (p * f + (31 - exponent).float() * (2.0 * math.log(2.0))).clamp_min(0.0)


def _scrambled(word: torch.Tensor) -> torch.Tensor:
    word = (word ^ word >> 16) * 0x21F0AAAD & _WORD
    word = (word ^ word >> 15) * 0x735A2D97 & _WORD
    return word ^ word >> 15


def _mixed(number: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    word = number + keys[0] & _WORD
    word = word ^ word >> 16
    word = word * 0x21F0AAAD & _WORD
    word = word ^ word >> 15
    word = word ^ keys[1]
    word = word * 0x735A2D97 & _WORD
    return word ^ word >> 15
