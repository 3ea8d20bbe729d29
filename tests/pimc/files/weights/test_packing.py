"""Levels packed to bits come back as they were, and lie where the format says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pimc.files.weights.packing import bits_per_cell, pack_levels, unpack_levels


@given(st.integers(1, 16), st.integers(1, 3), st.integers(0, 40), st.data())
def test_round_trip(bits: int, arrays: int, cells: int, data: st.DataObject) -> None:
    element = st.integers(0, 2**bits - 1)
    levels = data.draw(hnp.arrays(np.uint16, (arrays, cells), elements=element))
    packed = pack_levels(levels, bits)
    assert packed.shape == (arrays, -(-cells * bits // 8))
    assert packed.dtype == np.uint8
    back = unpack_levels(packed, bits, cells)
    assert back.dtype == np.uint16
    assert np.array_equal(back, levels)


@given(st.integers(2, 65536))
def test_bits_hold_every_level_and_no_fewer_would(levels: int) -> None:
    bits = bits_per_cell(levels)
    assert 2 ** (bits - 1) < levels <= 2**bits


@pytest.mark.parametrize(
    ("bits", "levels", "packed"),
    [
        (1, [1, 0, 0, 0, 0, 0, 0, 1, 1], "8101"),
        (3, [1, 2, 3, 7], "d10e"),  # 001 + 010·8 + 011·64 + 111·512
        (4, [0xA, 0xB, 0xC], "ba0c"),
        (12, [0xABC, 0xDEF], "bcfade"),
        (16, [0x1234], "3412"),
    ],
)
def test_first_cell_takes_the_lowest_bits(bits: int, levels: list[int], packed: str) -> None:
    assert pack_levels(np.array([levels], np.uint16), bits).tobytes().hex() == packed


def test_every_array_starts_at_a_byte() -> None:
    packed = pack_levels(np.array([[1, 1, 1], [1, 0, 0]], np.uint16), 1)
    assert packed.tolist() == [[7], [1]]
