"""Convolutions and samples are those of the runtime, to the last place that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.passes.calibrate import vectors
from pimc.passes.calibrate.vectors import convolve, sample
from pimc.plan import vectors as in_torch
from pimc.plan.records import Window
from tests.pimc.plan.test_vectors import windows

PLAIN = Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))


@settings(deadline=None, max_examples=60)
@given(windows(), st.integers(1, 3), st.integers(1, 3), st.sampled_from([64, 1 << 18]))
def test_a_convolution_is_the_runtimes(case, groups: int, columns: int, at_once: int) -> None:
    window, size = case
    rng = np.random.default_rng([groups, columns, *size])
    x = rng.standard_normal((3, 2 * groups, *size))
    kernel = rng.standard_normal((columns * groups, 2, *window.kernel))
    bias = rng.standard_normal(columns * groups)
    inputs, weights, added = (torch.from_numpy(value) for value in (x, kernel, bias))
    wanted = in_torch.convolve(inputs, weights, added, window, groups).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_AT_ONCE", at_once)
        found = convolve(x, kernel, bias, window, groups)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_whole_numbers_stay_whole_in_float32() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (2, 4, 6, 6)).astype(np.float32)
    kernel = rng.integers(-15, 16, (5, 4, 3, 3)).astype(np.float32)
    found = convolve(x, kernel, None, PLAIN, 1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        found, convolve(x.astype(float), kernel.astype(float), None, PLAIN, 1)
    )


@settings(deadline=None, max_examples=40)
@given(windows(), st.integers(1, 60), st.integers(0, 2**31))
def test_samples_are_taken_where_torch_takes_them(case, count: int, seed: int) -> None:
    window, size = case
    x = np.arange(2 * 3 * np.prod(size), dtype=float).reshape(2, 3, *size)
    rng = torch.Generator().manual_seed(seed)
    wanted = in_torch.sample(torch.from_numpy(x), window, count, rng).numpy()
    np.testing.assert_array_equal(sample(x, window, count, seed), wanted)


@pytest.mark.parametrize("rows", [0, 1, 2, 999, 1000, 1001, 5000])
def test_samples_of_vectors_are_taken_where_torch_takes_them(rows: int) -> None:
    x = np.arange(rows * 2, dtype=float).reshape(rows, 1, 2)
    rng = torch.Generator().manual_seed(7)
    wanted = in_torch.sample(torch.from_numpy(x), None, 1000, rng).numpy()
    np.testing.assert_array_equal(sample(x, None, 1000, 7), wanted)
