"""Weights read block by block: the same numbers, whatever the layout, type and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.files.memory_map import let_go, mapped
from pimc.files.weights.weight import Weight
from pimc.passes.emit.row_by_row import row_by_row

SIZES = st.tuples(*(st.integers(1, 9) for _ in range(3)))
Array = np.ndarray[Any, Any]


def stored(shape: tuple[int, int, int], by_column: bool, dtype: Any = np.float32) -> Array:
    values = np.random.default_rng(1).standard_normal(shape)
    if by_column:
        values = np.ascontiguousarray(values.transpose(0, 2, 1)).transpose(0, 2, 1)
    return values.astype(dtype)


@given(SIZES, st.booleans(), st.integers(1, 50))
def test_blocks_are_every_entry_once(
    shape: tuple[int, int, int], by_column: bool, most: int
) -> None:
    source = stored(shape, by_column)
    found, seen = np.full(shape, np.nan), np.zeros(shape, int)
    for block, values in Weight(source).blocks(most):
        found[block] = values
        seen[block] += 1
    assert (seen == 1).all()
    np.testing.assert_array_equal(found, source)


@given(SIZES, st.booleans())
def test_rows_follow_each_other_in_a_file(shape: tuple[int, int, int], by_column: bool) -> None:
    source = stored(shape, by_column)
    parts = list(row_by_row(Weight(source)))
    assert all(part.flags.c_contiguous for part in parts)
    np.testing.assert_array_equal(
        np.concatenate([p.reshape(-1) for p in parts]), source.reshape(-1)
    )


@pytest.mark.parametrize("by_column", [False, True])
def test_large_weights_in_the_order_of_a_file(by_column: bool) -> None:
    source = stored((2, 700, 3000), by_column)
    parts = list(row_by_row(Weight(source)))
    assert len(parts) > 1
    np.testing.assert_array_equal(
        np.concatenate([p.reshape(-1) for p in parts]), source.reshape(-1)
    )


@given(SIZES, st.booleans(), st.integers(1, 30), st.data())
def test_what_is_taken_is_where_numbers_meet(
    shape: tuple[int, int, int], by_column: bool, most: int, data: st.DataObject
) -> None:
    source = stored(shape, by_column)
    groups, rows, cols = (
        np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5)))
        for size in shape
    )
    found = Weight(source).take(groups, rows, cols, most)
    np.testing.assert_array_equal(found, source[np.ix_(groups, rows, cols)])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_types_become_float32(dtype: Any) -> None:
    source = stored((2, 3, 4), by_column=False, dtype=dtype)
    weight = Weight(source, factor=0.5)
    assert weight.numpy().dtype == np.float32
    expected = (source.astype(np.float64) * 0.5).astype(np.float32)
    np.testing.assert_array_equal(weight.numpy(), expected)
    np.testing.assert_array_equal(weight[1, :, 2:], expected[1, :, 2:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_found(bad: float) -> None:
    source = np.zeros((1, 300, 500))
    assert Weight(source).is_finite()
    source[0, 299, 499] = bad
    assert not Weight(source).is_finite()


@pytest.mark.parametrize("offset", [0, 3])
def test_mapped_weights_are_the_same_after_their_memory_was_given_back(
    tmp_path: Path, offset: int
) -> None:
    values = stored((1, 400, 90), by_column=False)
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(offset) + values.tobytes())
    flat = np.frombuffer(mapped(path), np.float32, values.size, offset)
    weight = Weight(flat.reshape(values.shape))
    for block, found in weight.blocks(1000):
        np.testing.assert_array_equal(found, values[block])
    let_go(flat)
    assert weight.numpy().flags.aligned
    np.testing.assert_array_equal(weight.numpy(), values)


def test_mapped_arrays_cannot_be_written_to(tmp_path: Path) -> None:
    """What is given back would otherwise lose what was written there, unnoticed."""
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(64))
    with pytest.raises(ValueError, match="read-only"):
        np.frombuffer(mapped(path), np.float32)[0] = 1


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    assert mapped(tmp_path / "none") == b""
