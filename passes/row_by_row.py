"""Copies of transposed weights, in the order of a file."""

from __future__ import annotations

import numpy as np

from pimc.plan import Floats

__all__ = ["row_by_row"]

#: Rows and columns copied at a time: what lies far apart in one of the two stays in the caches.
_ROWS, _COLS = 256, 64


def row_by_row(weight: Floats) -> Floats:
    """``weight`` (groups, rows, cols), contiguous; itself where it is."""
    if weight.flags.c_contiguous:
        return weight
    copy = np.empty(weight.shape, weight.dtype)
    for row in range(0, weight.shape[1], _ROWS):
        for col in range(0, weight.shape[2], _COLS):
            block = np.s_[:, row : row + _ROWS, col : col + _COLS]
            copy[block] = weight[block]
    return copy
