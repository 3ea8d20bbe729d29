"""Kernels of a convolution and the matrix of its layer are two views of the same weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pimc.plan.kernels import kernels_of_matrix, matrix_of_kernels
from pimc.plan.records import Window
from pimc.plan.vectors import convolve, unfold

SHAPES = st.tuples(
    st.integers(1, 3),  # groups
    st.integers(1, 4),  # columns of a group
    st.integers(1, 3),  # channels of a group
    st.lists(st.integers(1, 3), max_size=4),  # kernel
)


def kernels(groups: int, cols: int, channels: int, kernel: list[int]) -> np.ndarray:
    shape = (groups * cols, channels, *kernel)
    return np.arange(math.prod(shape), dtype=np.float64).reshape(shape)


@given(SHAPES)
def test_each_undoes_the_other(sizes) -> None:
    groups, cols, channels, kernel = sizes
    whole = kernels(*sizes)
    matrix = matrix_of_kernels(whole, groups)
    assert matrix.shape == (groups, channels * math.prod(kernel), cols)
    np.testing.assert_array_equal(kernels_of_matrix(matrix, kernel), whole)
    again = matrix_of_kernels(kernels_of_matrix(matrix, kernel), groups)
    np.testing.assert_array_equal(again, matrix)


@given(SHAPES)
def test_torch_and_numpy_agree(sizes) -> None:
    groups, _, _, kernel = sizes
    whole = kernels(*sizes)
    matrix = matrix_of_kernels(torch.from_numpy(whole), groups)
    np.testing.assert_array_equal(matrix.numpy(), matrix_of_kernels(whole, groups))
    back = kernels_of_matrix(matrix, kernel)
    np.testing.assert_array_equal(back.numpy(), whole)


@given(SHAPES, st.data())
def test_every_weight_is_where_the_words_say(sizes, data) -> None:
    groups, cols, channels, kernel = sizes
    whole = kernels(*sizes)
    matrix = matrix_of_kernels(whole, groups)
    g, n, c = (data.draw(st.integers(0, size - 1)) for size in (groups, cols, channels))
    tap = tuple(data.draw(st.integers(0, size - 1)) for size in kernel)
    row = c * math.prod(kernel) + (int(np.ravel_multi_index(tap, kernel)) if kernel else 0)
    assert matrix[g, row, n] == whole[(g * cols + n, c, *tap)]


@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 1, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_rows_are_in_the_order_of_unfolded_inputs(kernel: tuple[int, ...], groups: int) -> None:
    ones = (1,) * len(kernel)
    window = Window(kernel, ones, ones, (0, 0) * len(kernel))
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3 * groups, *(size + 2 for size in kernel), generator=rng)
    weight = torch.randn(4 * groups, 3, *kernel, generator=rng)
    wanted = convolve(x, weight, None, window, groups).flatten(2)
    vectors = unfold(x, window).unflatten(1, (groups, -1))
    found = torch.einsum("bgkp,gkn->bgnp", vectors, matrix_of_kernels(weight, groups))
    torch.testing.assert_close(found.flatten(1, 2), wanted)


def test_views_are_taken_where_they_can_be() -> None:
    whole = kernels(2, 3, 4, [3, 3])
    matrix = matrix_of_kernels(whole, 2)
    assert np.shares_memory(matrix, whole)
    assert np.shares_memory(kernels_of_matrix(matrix, (3, 3)), whole)
