"""Weights in the order of a file, a part at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pimc.files.weights.weight import Floats, Weight

__all__ = ["row_by_row"]

#: Entries of a part.
_PART = 1 << 22
#: Least rows of a part: what lies column by column is read in whole pages then.
_LEAST_ROWS = 256
#: Rows and columns copied at a time.
_ROWS, _COLS = 256, 64
#: Columns after which mapped memory is given back: of each some pages are mapped unasked.
_HELD_COLS = 512


def row_by_row(weight: Weight) -> Iterator[Floats]:
    """Parts of ``weight``, contiguous, that follow each other in the order (groups, rows, cols)."""
    groups, rows, cols = weight.shape
    together = max(1, _PART // (rows * cols))
    size = max(_LEAST_ROWS, _PART // (together * cols))
    for group in range(0, groups, together):
        for row in range(0, rows, size):
            yield _contiguous(weight, slice(group, group + together), slice(row, row + size))


def _contiguous(weight: Weight, groups: slice, rows: slice) -> Floats:
    cols = weight.shape[2]
    step = _HELD_COLS if weight.by_column else cols
    first = weight[groups, rows, :step]
    copy = np.empty((*first.shape[:2], cols), np.float32)
    for start in range(0, cols, step):
        part = weight[groups, rows, start : start + step]
        _copied(part, copy[:, :, start : start + step])
        weight.let_go()
    return copy


def _copied(part: Floats, copy: Floats) -> None:
    """Copy block by block: what lies far apart in one of the two stays in the caches."""
    _, rows, cols = part.shape
    for row in range(0, rows, _ROWS):
        for col in range(0, cols, _COLS):
            block = np.s_[:, row : row + _ROWS, col : col + _COLS]
            copy[block] = part[block]
