"""Weights in the order of a file, whatever order they lie in, a part at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.files.weight import Weight
from pimc.passes.emit import row_by_row as module
from pimc.passes.emit.row_by_row import row_by_row

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))


@settings(deadline=None)
@given(SIZES, st.booleans(), st.sampled_from([np.float16, np.float32, np.float64]), st.data())
def test_parts_follow_each_other(
    shape: tuple[int, int, int], by_column: bool, dtype: type, data: st.DataObject
) -> None:
    values: np.ndarray = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if by_column:
        values = np.ascontiguousarray(values.swapaxes(1, 2)).swapaxes(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        for name, most in (("_PART", 40), ("_LEAST_ROWS", 4), ("_ROWS", 3), ("_COLS", 3)):
            patch.setattr(module, name, data.draw(st.integers(1, most)))
        patch.setattr(module, "_HELD_COLS", data.draw(st.integers(1, 5)))
        parts = list(row_by_row(Weight(values)))
    assert all(part.dtype == np.float32 and part.flags.c_contiguous for part in parts)
    flat = np.concatenate([part.reshape(-1) for part in parts])
    np.testing.assert_array_equal(flat.reshape(shape), values.astype(np.float32))


def test_a_part_is_no_larger_than_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 64)
    monkeypatch.setattr(module, "_LEAST_ROWS", 2)
    parts = list(row_by_row(Weight(np.zeros((3, 20, 8), np.float32))))
    assert {part.size for part in parts[:-1]} <= {64, 32}
    assert sum(part.size for part in parts) == 480


def test_a_factor_is_applied() -> None:
    (part,) = row_by_row(Weight(np.ones((1, 2, 2), np.float32), 0.25))
    assert part.tolist() == [[[0.25, 0.25], [0.25, 0.25]]]
