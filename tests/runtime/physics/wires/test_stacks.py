"""Both orders of stacks hold and give the same matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pimc.runtime.physics.wires.stacks import (
    empty_like,
    inverse,
    product,
    stack_innermost,
    transposed,
)

Array64 = npt.NDArray[np.float64]


def both_orders(values: Array64) -> list[Array64]:
    spread = stack_innermost(values.shape[:-2], *values.shape[-2:])
    spread[...] = values
    return [values, spread]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_inverses_and_products_agree(size: int) -> None:
    rng = np.random.default_rng(size)
    square = rng.random((2, 5, size, size)) + 2 * np.eye(size)
    wide = rng.random((2, 5, size, 4))
    for matrices, others in zip(both_orders(square), both_orders(wide), strict=True):
        back = product(inverse(matrices), product(matrices, others))
        assert back == pytest.approx(wide)
        assert product(transposed(others), matrices) == pytest.approx(
            wide.swapaxes(-1, -2) @ square
        )


def test_results_keep_the_order() -> None:
    for matrices in both_orders(np.ones((50, 3, 3)) + np.eye(3)):
        nearest = np.argmin(matrices.strides)
        for found in (
            product(matrices, matrices), inverse(matrices), empty_like(matrices, 4, 5)
        ):  # fmt: skip
            assert np.argmin(found.strides) == nearest
