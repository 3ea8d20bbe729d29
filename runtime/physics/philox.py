"""Counter-based random numbers: Philox4x32-10.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
DOI 10.1145/2063384.2063405. A draw depends on its key and counter alone, so a die's
errors do not depend on the order in which its cells are written or read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Four random 32-bit words for every counter.

    Args:
        counter: four uint32 arrays that broadcast against each other.
        key: two 32-bit integers.
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0.astype(np.uint64) * _MULTIPLIERS[0]
        product1 = c2.astype(np.uint64) * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            _high(product1) ^ c1 ^ np.uint32(k0),
            product1.astype(np.uint32),
            _high(product0) ^ c3 ^ np.uint32(k1),
            product0.astype(np.uint32),
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniform(
    seed: int, stream: int, cell: npt.NDArray[np.int64], count: npt.NDArray[np.integer] | int = 0
) -> npt.NDArray[np.float64]:
    """Uniform numbers in the open interval (0, 1), one a cell.

    Args:
        seed: the die's seed, 64 bits.
        stream: what is drawn; streams are independent of each other.
        cell: addresses of cells.
        count: how often the cell was written before; broadcasts against ``cell``.
    """
    words = philox(
        (
            (cell & 0xFFFFFFFF).astype(np.uint32),
            (cell >> 32).astype(np.uint32),
            np.asarray(count, dtype=np.uint32),
            np.asarray(stream, dtype=np.uint32),
        ),
        (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF),
    )
    mantissa = (words[0].astype(np.uint64) << np.uint64(20)) | (words[1] >> np.uint32(12))
    return (mantissa.astype(np.float64) + 0.5) * 2.0**-52


def normal(
    seed: int, stream: int, cell: npt.NDArray[np.int64], count: npt.NDArray[np.integer] | int = 0
) -> npt.NDArray[np.float64]:
    """Standard normal numbers, one a cell; arguments as for :func:`uniform`."""
    from scipy.special import ndtri

    draws: npt.NDArray[np.float64] = ndtri(uniform(seed, stream, cell, count))
    return draws


def _high(product: npt.NDArray[np.uint64]) -> Words:
    return (product >> np.uint64(32)).astype(np.uint32)
