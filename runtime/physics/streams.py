"""Which random number is which, so that no two elements of the physics share one."""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pimc.runtime.physics import philox

#: Further draws of the same event take the streams this far apart.
_APART = 256


class Stream(IntEnum):
    """Independent streams of a die's random numbers; the values are part of the physics."""

    PROGRAMMING = 0
    STUCK = 1
    REFERENCE = 2
    DEAD_ROW = 3
    DEAD_COL = 4
    VARIATION_CELL = 5
    VARIATION_ROW = 6
    VARIATION_COL = 7
    VARIATION_REFERENCE_CELL = 8
    VARIATION_REFERENCE_COL = 9
    RETENTION = 10
    RETENTION_REFERENCE = 11
    TRAP = 12
    TRAP_STATE = 13
    REFERENCE_TRAP = 14
    REFERENCE_TRAP_STATE = 15
    ADC_GAIN = 32
    ADC_OFFSET = 33
    #: Of a laboratory's own terms, each under a seed of its own.
    OWN = 64
    OWN_REFERENCE = 65
    OWN_DAC = 66
    OWN_ADC = 67


def normals(
    draws: int,
    seed: int,
    stream: Stream,
    cell: npt.NDArray[np.int64],
    count: npt.NDArray[np.integer] | int = 0,
) -> npt.NDArray[np.float64]:
    """(draws, *shape of ``cell``) independent standard normals, as ``philox.normal``."""
    found = np.empty((draws, *cell.shape))
    for number in range(draws):
        found[number] = philox.normal(seed, stream + number * _APART, cell, count)
    return found


def own_seed(seed: int, name: str) -> int:
    """The seed of a laboratory's own term: it depends on the term's name, on no other term."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


#: The counter word of read noise, apart from those of a die's own errors.
READ_NOISE = 0x52454144
#: So many input vectors share the keys that theirs are made of.
READ_STRETCH = 1 << 10
#: Columns' numbers from here on are those of reference columns, below those of columns of cells.
READ_REFERENCE = 1 << 30


def read_key(die_seed: int, read_seed: int) -> tuple[int, int]:
    """The two key words of a die's read noise."""
    key = (die_seed * 0x9E3779B97F4A7C15 + read_seed + 1) % 2**64
    return key & 0xFFFFFFFF, key >> 32
