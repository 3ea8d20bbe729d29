"""Columns stored with their signs turned: the cells hold −w, the digital gain is negative.

Code ``c`` of a column becomes ``turn − c``, its zero likewise. That is exact where the values of
codes mirror each other, and where ``turn − c`` is a code for every code of the column.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.plan.records import Quantized

__all__ = ["NO_TURN", "mirrored", "turns"]

#: Of a column that cannot be turned.
NO_TURN = -1


def turns(
    codes: npt.NDArray[np.uint16],
    zero: npt.NDArray[np.uint16],
    book: Codebook,
    *,
    same_currents: bool,
) -> npt.NDArray[np.int64]:
    """(groups, cols) what code and turned code of each column add up to, ``NO_TURN`` of some.

    Args:
        codes: (groups, rows, cols).
        zero: (groups, cols).
        same_currents: turn only where all currents turn as well, so that the converters' ranges
            fit as they did; else the turn that comes nearest to that.
    """
    top = len(book.values_us) - 1
    low = np.minimum(codes.min(axis=1), zero).astype(np.int64)
    high = np.maximum(codes.max(axis=1), zero).astype(np.int64)
    found: npt.NDArray[np.int64]
    if book.step_us is not None:
        found = np.clip(2 * _still(book), high, low + top)
    else:
        mirror = book.values_us[0] + book.values_us[-1] - book.values_us[::-1]
        even = np.allclose(mirror, book.values_us, rtol=0, atol=1e-9 * np.ptp(book.values_us))
        found = np.full(low.shape, top if even else NO_TURN)
    if same_currents:
        there = found >= 0
        turned = np.where(there, found - zero, zero).astype(np.uint16)
        left = book.pedestal_us(turned) + book.pedestal_us(zero)
        found = np.where(np.abs(left) <= 1e-9 * np.abs(book.values_us).max(), found, NO_TURN)
    return found


def _still(book: Codebook) -> int:
    """The code that adds no pedestal, or that adds least."""
    pedestal = book.pedestal_us(np.arange(len(book.values_us)).astype(np.uint16))
    return int(np.abs(pedestal).argmin())


def mirrored(
    quantized: Quantized, turn: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> Quantized:
    """``quantized`` with the ``chosen`` columns (groups, cols) turned; those of no turn stay."""
    turned = chosen & (turn != NO_TURN)
    if not turned.any():
        return quantized
    codes = quantized.codes[:, :, :]
    at, sums = turned[:, None, :], turn[:, None, :]
    flat = turned.reshape(-1)
    zero = np.where(flat, turn.reshape(-1) - quantized.zero, quantized.zero)
    return replace(
        quantized,
        codes=np.where(at, sums - codes, codes).astype(np.uint16),
        zero=zero.astype(np.uint16),
        gain=np.where(flat, -quantized.gain, quantized.gain).astype(np.float32),
    )
