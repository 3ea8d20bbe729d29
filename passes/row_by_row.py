"""Copies of transposed weights, in the order of a file."""

from __future__ import annotations

import numpy as np

from pimc.plan import Floats

__all__ = ["row_by_row"]

#: Rows written at a time, so that every line of the source that is fetched is used up.
_ROWS = 64


def row_by_row(weight: Floats) -> Floats:
    """``weight`` (groups, rows, cols), contiguous; itself where it is."""
    if weight.flags.c_contiguous:
        return weight
    copy = np.empty(weight.shape, weight.dtype)
    for start in range(0, weight.shape[1], _ROWS):
        copy[:, start : start + _ROWS] = weight[:, start : start + _ROWS]
    return copy
