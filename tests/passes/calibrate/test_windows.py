"""Pooling at the edges: windows of pads only count as nothing, values below zero stay."""

from __future__ import annotations

import numpy as np

from pimc.passes.calibrate.windows import average_pool, conv, max_pool


def test_pads_are_never_the_largest_value() -> None:
    x = np.full((1, 1, 2, 2), -3.0)
    assert (max_pool(x, kernel_shape=[2, 2], pads=[1, 1, 1, 1]) == -3.0).all()


def test_a_mean_is_over_what_is_there() -> None:
    x = np.full((1, 1, 2, 2), 2.0)
    assert (average_pool(x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]) == 2.0).all()
    padded = average_pool(x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    np.testing.assert_allclose(padded, 8 / 9)


def test_one_spatial_axis_and_three() -> None:
    for dims in (1, 3):
        x = np.ones((2, 3, *(4,) * dims))
        y = conv(x, np.ones((5, 3, *(2,) * dims)))
        assert y.shape == (2, 5, *(3,) * dims)
        assert (y == 3 * 2**dims).all()
