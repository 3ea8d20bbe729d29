"""Input vectors are what a convolution sees, and outputs come back in its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.plan.kernels import matrix_of_kernels
from pimc.plan.records import Window
from pimc.plan.vectors import convolve, output_size, pad, refold, sample, unfold

FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, tuple[int, ...]]:
    """A window, and an input's spatial size that it fits."""
    dims = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = dims) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    same: Any = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = each(0, 2, 2 * dims) if same == "NOTSET" else (0,) * (2 * dims)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = tuple(r + draw(st.integers(0, 3)) for r in reach)
    return Window(kernel, strides, dilations, pads, same), size


def plain(x: torch.Tensor, kernel: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
    """The convolution by torch, on an input padded entry by entry."""
    dims = len(window.kernel)
    pads = window.resolved_pads(tuple(x.shape[2:]))
    for d in range(dims):
        for side, entry in ((0, pads[d]), (1, pads[dims + d])):
            shape = list(x.shape)
            shape[2 + d] = entry
            zeros = torch.zeros(shape, dtype=x.dtype)
            x = torch.cat([zeros, x] if side == 0 else [x, zeros], dim=2 + d)
    return FUNCTIONS[dims](x, kernel, None, window.strides, 0, window.dilations, groups)


@settings(deadline=None, max_examples=60)
@given(windows(), st.integers(1, 2), st.integers(0, 2**31))
def test_vectors_times_the_matrix_are_the_convolution(
    case: tuple[Window, tuple[int, ...]], groups: int, seed: int
) -> None:
    window, size = case
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 2 * groups, *size, generator=rng, dtype=torch.float64)
    kernel = torch.randn(3 * groups, 2, *window.kernel, generator=rng, dtype=torch.float64)
    wanted = plain(x, kernel, window, groups)
    torch.testing.assert_close(convolve(x, kernel, None, window, groups), wanted)
    assert output_size(size, window) == tuple(wanted.shape[2:])
    vectors = unfold(x, window).unflatten(1, (groups, -1))
    y = torch.einsum("bgkp,gkn->bgnp", vectors, matrix_of_kernels(kernel, groups)).flatten(1, 2)
    torch.testing.assert_close(refold(y, x, window), wanted)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 2, 5), (3, 2, 4, 5)])
def test_vectors_of_a_product_are_along_the_last_dimension(shape: tuple[int, ...]) -> None:
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    vectors = unfold(x, None)
    assert vectors.shape[1] == 5
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    y = torch.einsum("bkp,kn->bnp", vectors, weight)
    torch.testing.assert_close(refold(y, x, None), x @ weight)


def test_padding_puts_zeros_where_the_window_says() -> None:
    window = Window((1, 1), (1, 1), (1, 1), (1, 2, 0, 3))
    padded = pad(torch.ones(1, 1, 2, 2), window)
    assert padded.shape == (1, 1, 3, 7)
    assert padded[0, 0, 1:, 2:4].sum() == padded.sum() == 4


@settings(deadline=None, max_examples=40)
@given(windows(), st.integers(1, 30), st.integers(0, 2**31))
def test_a_sample_is_some_of_all_vectors(
    case: tuple[Window, tuple[int, ...]], count: int, seed: int
) -> None:
    window, size = case
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, *size, generator=rng)
    every = unfold(x, window).transpose(1, 2).flatten(0, 1)
    some = sample(x, window, count, torch.Generator().manual_seed(seed))
    assert len(some) == min(count, len(every))
    rows = {tuple(row) for row in every.tolist()}
    assert all(tuple(row) in rows for row in some.tolist())
    again = sample(x, window, count, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(some, again)
    if count >= len(every):
        torch.testing.assert_close(some, every)


def test_a_sample_of_a_product() -> None:
    x = torch.arange(24.0).reshape(2, 4, 3)
    some = sample(x, None, 5, torch.Generator().manual_seed(1))
    assert some.shape == (5, 3)
    first = some[:, 0].tolist()
    assert first == sorted(first)  # in the order in which they lie
    assert set(first) <= set(x[..., 0].flatten().tolist())
    assert len(sample(x, None, 99, torch.Generator().manual_seed(1))) == 8
