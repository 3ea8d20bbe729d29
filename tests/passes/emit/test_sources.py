"""Arrays and stored weights come back with their type, their entries and the order of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.errors import PlanError
from pimc.files import container
from pimc.files.container import Content
from pimc.files.stored import Dequantized, Packed
from pimc.passes.emit.sources import (
    get_array,
    get_source,
    lies_in_order,
    put_array,
    put_source,
)

Array = np.ndarray[Any, Any]
TYPES = [
    np.float32, np.float16, np.float64, np.int8, np.uint8, np.uint16, np.bool_,
    ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.uint4,
]  # fmt: skip


def through_a_file(contents: dict[str, Content], path: Path) -> dict[str, Array]:
    container.stream(path / "a.safetensors", "test", 1, {}, contents)
    return container.load(path / "a.safetensors", "test", 1, PlanError, in_place=True)[1]


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from(TYPES),
    step=st.integers(1, 2),
)
def test_an_array_lies_as_it_did(
    shape: list[int], order: Any, dtype: type, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)
    size = int(np.prod(shape)) * step
    whole: Array = np.arange(size, dtype=np.int64).astype(np.int8).astype(dtype)
    array = whole.reshape(*shape[:-1], -1)[..., ::step] if size else whole.reshape(shape)
    array = array.transpose(axes)
    contents: dict[str, Content] = {}
    entry = put_array("a", array, contents)
    found = get_array(entry, through_a_file(contents, tmp_path_factory.mktemp("a")))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    lines = [(a, b) for a in axes for b in axes if min(found.shape[a], found.shape[b]) > 1]
    for a, b in lines:
        assert (found.strides[a] < found.strides[b]) == (array.strides[a] < array.strides[b])


def test_what_lies_in_order() -> None:
    array = np.zeros((4, 5), np.float32)
    assert lies_in_order(array)
    assert lies_in_order(array[1:3])
    assert not lies_in_order(array.T)
    assert not lies_in_order(array[:, :4])
    assert not lies_in_order(np.zeros((1, 5)).T)  # five rows of one column, read as columns


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_codes_stay_codes(zero: bool, packed: bool, turned: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes: Array | Packed = rng.integers(0, 16, (1, 6, 8)).astype(np.uint8)
    if packed:
        data = rng.integers(0, 256, (6, 4)).astype(np.uint8)
        codes = Packed(data, 4, 8, by_column=False, signed=True)
    scale = rng.uniform(0.1, 1, (1, 3, 8)).astype(np.float16)
    middle = np.full((1, 3, 8), 8, np.uint8) if zero else None
    source = Dequantized(codes, scale, middle, (2, 1), np.dtype(np.float16))
    source = source.transposed() if turned else source
    contents: dict[str, Content] = {}
    entry = put_source("w", source, contents)
    found = get_source(entry, through_a_file(contents, tmp_path))
    assert isinstance(found, Dequantized)
    assert isinstance(found.codes, Packed) == packed
    assert (found.shape, found.dtype, found.block) == (source.shape, source.dtype, source.block)
    assert found.by_column == source.by_column == turned
    assert found.bound == source.bound
    np.testing.assert_array_equal(found[:], source[:])


def test_a_large_array_is_written_in_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pimc.passes.emit.sources._PART", 7)
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5).swapaxes(1, 2)
    contents: dict[str, Content] = {}
    entry = put_array("a", array, contents)
    found = get_array(entry, through_a_file(contents, tmp_path))
    np.testing.assert_array_equal(found, array)
    assert found.strides == array.strides
