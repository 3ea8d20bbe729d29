"""Which random number is which, so that no two elements of the physics share one."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pimc.runtime import philox

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


def normals(
    draws: int,
    seed: int,
    stream: Stream,
    cell: npt.NDArray[np.int64],
    count: npt.NDArray[np.integer] | int = 0,
) -> npt.NDArray[np.float64]:
    """(draws, *shape of ``cell``) independent standard normals, as ``philox.normal``."""
    each = [philox.normal(seed, stream + number * _APART, cell, count) for number in range(draws)]
    return np.stack(each)
