"""Weights stored as codes: any part is what it would be of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.files.weights.packing import pack_levels
from pimc.files.weights.stored import Dequantized, Packed
from pimc.files.weights.weight import Weight

Array = np.ndarray[Any, Any]


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Dequantized, Array]:
    """A matrix of codes, and all its numbers in (1, rows, cols)."""
    rows, cols, seed = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    block = (draw(st.sampled_from([1, 2, 3, rows])), draw(st.sampled_from([1, 2, cols])))
    held = (1, -(-rows // block[0]), -(-cols // block[1]))
    scale = rng.uniform(0.1, 1.0, held).astype(np.float32)
    bits = draw(st.sampled_from([2, 4, 8, None]))
    if bits is None:
        codes: Any = rng.integers(-128, 128, (1, rows, cols)).astype(np.int8)
        if draw(st.booleans()):
            codes = np.ascontiguousarray(codes.swapaxes(1, 2)).swapaxes(1, 2)
        plain = codes
    else:
        plain = rng.integers(0, 1 << bits, (1, rows, cols)).astype(np.uint16)
        by_column, signed = draw(st.booleans()), draw(st.booleans())
        lines = plain[0].T if by_column else plain[0]
        codes = Packed(pack_levels(lines, bits), bits, lines.shape[1], by_column, signed)
        if signed:
            plain = plain.astype(np.int32) - np.where(plain >> (bits - 1), 1 << bits, 0)
    zero = rng.integers(0, 4, held).astype(np.int8) if draw(st.booleans()) else None
    numbers = plain.astype(np.float32)
    spread = [np.arange(size) // each for size, each in zip((rows, cols), block, strict=True)]
    if zero is not None:
        numbers = numbers - zero[0][np.ix_(*spread)].astype(np.float32)
    return Dequantized(codes, scale, zero, block), numbers * scale[0][np.ix_(*spread)]


ends = st.one_of(st.none(), st.integers(-10, 12))
slices = st.builds(slice, ends, ends)
places = st.lists(st.integers(0, 8), min_size=1, max_size=4)


@given(matrices(), slices, slices, st.booleans(), st.booleans())
def test_a_block_is_that_of_all_numbers(
    matrix: tuple[Dequantized, Array], row: slice, col: slice, single: bool, turned: bool
) -> None:
    source, whole = matrix
    if turned:
        source, whole = source.transposed(), whole.swapaxes(1, 2)
    assert source.shape == whole.shape
    key = (0 if single else slice(None), row, col)
    np.testing.assert_array_equal(source[key], whole[key])


@given(matrices(), places, places, st.booleans())
def test_picked_entries_are_those_of_all_numbers(
    matrix: tuple[Dequantized, Array], rows: list[int], cols: list[int], turned: bool
) -> None:
    source, whole = matrix
    if turned:
        source, whole = source.transposed(), whole.swapaxes(1, 2)
    key = np.ix_([0], np.array(rows) % whole.shape[1], np.array(cols) % whole.shape[2])
    np.testing.assert_array_equal(source[key], whole[key])


@given(matrices(), st.integers(1, 30))
def test_a_weight_of_codes_is_one_of_numbers(matrix: tuple[Dequantized, Array], most: int) -> None:
    source, whole = matrix
    weight = Weight(source, 0.5)
    np.testing.assert_array_equal(weight.numpy(), whole * 0.5)
    found = np.full(whole.shape, np.nan, np.float32)
    for block, values in weight.blocks(most):
        found[block] = values
    np.testing.assert_array_equal(found, whole * np.float32(0.5))
    assert (weight.shape, weight.size) == (whole.shape, whole.size)


@given(matrices())
def test_no_number_exceeds_the_bound(matrix: tuple[Dequantized, Array]) -> None:
    source, whole = matrix
    assert np.abs(whole).max() <= source.bound < np.inf
    assert Weight(source).is_finite()


@pytest.mark.parametrize(
    ("scale", "dtype", "code", "finite"),
    [
        (np.inf, "float32", 1, False),
        (np.nan, "float32", 1, False),
        (1e37, "float32", 100, False),
        (1e37, "float32", 10, True),
        (1e3, "float16", 100, False),
        (1e3, "float16", 10, True),
    ],
)
def test_numbers_that_are_none_are_found(scale: float, dtype: str, code: int, finite: bool) -> None:
    codes, kind = np.full((1, 2, 2), code, np.int8), np.dtype(dtype)
    source = Dequantized(codes, np.full((1, 1, 1), scale, dtype), None, (2, 2), kind)
    with np.errstate(invalid="ignore"):
        assert Weight(source).is_finite() is finite


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_numbers_are_rounded_to_the_type_of_the_network(dtype: str) -> None:
    codes, scale = np.full((1, 2, 2), 3, np.int8), np.full((1, 1, 1), 0.1, dtype)
    source = Dequantized(codes, scale, None, (2, 2), np.dtype(dtype))
    assert source[:].dtype == dtype
    wanted = np.float32(3) * scale.astype(np.float32)[0, 0, 0]
    assert source[0, 0:1, 0:1].item() == wanted.astype(dtype)
