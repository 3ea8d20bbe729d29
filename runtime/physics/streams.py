"""Which random number is which, so that no two elements of the physics share one."""

from __future__ import annotations

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


#: The counter word of read noise, apart from those of a die's own errors.
READ_NOISE = 0x52454144
#: So many input vectors share the keys that theirs are made of.
READ_STRETCH = 1 << 10
#: Columns' numbers from here on are those of reference columns, below those of columns of cells.
READ_REFERENCE = 1 << 30
