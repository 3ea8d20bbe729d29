"""Levels packed to the chip's bits per cell.

Cells follow each other row by row; the first cell takes the lowest bits of the first byte.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bits_per_cell(levels: int) -> int:
    """Bits that hold a level 0 … ``levels`` − 1."""
    return max(1, (levels - 1).bit_length())


def pack_levels(levels: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    """Pack integers (arrays, cells) into bytes (arrays, ceil(cells · bits / 8))."""
    planes = (levels[..., None] >> np.arange(bits, dtype=np.uint16)) & 1
    flat = planes.astype(np.uint8).reshape(levels.shape[0], -1)
    return np.packbits(flat, axis=1, bitorder="little")


def unpack_levels(packed: npt.NDArray[np.uint8], bits: int, cells: int) -> npt.NDArray[np.uint16]:
    """Inverse of :func:`pack_levels`: (arrays, ``cells``)."""
    flat = np.unpackbits(packed, axis=1, count=cells * bits, bitorder="little")
    weights = (1 << np.arange(bits)).astype(np.uint16)
    planes = flat.reshape(len(packed), cells, bits)
    levels: npt.NDArray[np.uint16] = (planes * weights).sum(axis=2, dtype=np.uint16)
    return levels
