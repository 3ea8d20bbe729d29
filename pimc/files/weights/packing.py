"""Levels packed to the chip's bits per cell.

Cells follow each other row by row; the first cell takes the lowest bits of the first byte.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bits_per_cell(levels: int) -> int:
    """Bits that hold a level 0 … ``levels`` − 1."""
    return max(1, (levels - 1).bit_length())


def packed_bytes(levels: int, cells: int) -> int:
    """Bytes that the packed levels of an array of ``cells`` take."""
    return -(-cells * bits_per_cell(levels) // 8)


def pack_levels(levels: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    """Pack integers (arrays, cells) into bytes (arrays, ceil(cells · bits / 8))."""
    if 8 % bits == 0 and levels.shape[1] * bits % 8 == 0:
        apart = levels.astype(np.uint8).reshape(len(levels), levels.shape[1] * bits // 8, 8 // bits)
        packed = apart[..., 0].copy()
        for place in range(1, 8 // bits):
            packed |= apart[..., place] << (place * bits)
        return packed
    planes = (levels[..., None] >> np.arange(bits, dtype=np.uint16)) & 1
    flat = planes.astype(np.uint8).reshape(len(levels), levels.shape[1] * bits)
    return np.packbits(flat, axis=1, bitorder="little")


def unpack_levels(packed: npt.NDArray[np.uint8], bits: int, cells: int) -> npt.NDArray[np.uint16]:
    """Inverse of :func:`pack_levels`: (arrays, ``cells``)."""
    if 8 % bits == 0:
        levels = np.empty((*packed.shape, 8 // bits), np.uint16)
        for place in range(8 // bits):
            apart = packed >> np.uint8(place * bits)
            np.bitwise_and(apart, np.uint8((1 << bits) - 1), out=levels[..., place])
        return levels.reshape(len(packed), levels.shape[1] * levels.shape[2])[:, :cells]
    if cells % 8 == 0:
        return _unpack_by_eight(packed, bits)
    flat = np.unpackbits(packed, axis=1, count=cells * bits, bitorder="little")
    weights = (1 << np.arange(bits)).astype(np.uint16)
    planes = flat.reshape(len(packed), cells, bits)
    return np.asarray((planes * weights).sum(axis=2, dtype=np.uint16))


def _unpack_by_eight(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint16]:
    """Eight cells fill whole bytes: (arrays, cells) of them, place by place."""
    eight = packed.reshape(len(packed), packed.shape[1] // bits, bits)
    levels = np.empty((*eight.shape[:2], 8), np.uint16)
    for place in range(8):
        first, shift = divmod(place * bits, 8)
        last = (place * bits + bits - 1) // 8
        word = eight[..., first].astype(np.uint32)
        for byte in range(first + 1, last + 1):
            word |= eight[..., byte].astype(np.uint32) << np.uint32(8 * (byte - first))
        levels[..., place] = (word >> np.uint32(shift)) & np.uint32((1 << bits) - 1)
    return levels.reshape(len(packed), levels.shape[1] * 8)
