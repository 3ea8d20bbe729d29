"""Rotations are orthogonal, flat where a Hadamard matrix is known, and may keep the mean."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.passes.rotate.orthogonal import hadamard, rotation


@pytest.mark.parametrize("size", [1, 2, 4, 12, 20, 24, 44, 64, 128, 144, 576])
def test_hadamard_matrices_are_orthogonal(size: int) -> None:
    matrix = hadamard(size)
    assert matrix is not None
    assert set(np.unique(matrix)) <= {-1.0, 1.0}
    assert np.array_equal(matrix @ matrix.T, size * np.eye(size))


@pytest.mark.parametrize("size", [3, 6, 18, 30])
def test_other_sizes_have_none_here(size: int) -> None:
    assert hadamard(size) is None


@pytest.mark.parametrize("keeps_mean", [False, True])
@pytest.mark.parametrize("size", [2, 3, 4, 6, 18, 32, 576])
def test_rotations_are_orthogonal(size: int, keeps_mean: bool) -> None:
    turned = rotation(size, np.random.default_rng(5), keeps_mean=keeps_mean)
    assert np.allclose(turned @ turned.T, np.eye(size), atol=1e-12)
    if keeps_mean:
        assert np.allclose(turned @ np.ones(size), 1)
        assert np.allclose(np.ones(size) @ turned, 1)


@pytest.mark.parametrize("keeps_mean", [False, True])
def test_what_lies_in_one_channel_is_spread_over_all(keeps_mean: bool) -> None:
    turned = rotation(64, np.random.default_rng(5), keeps_mean=keeps_mean)
    assert np.abs(turned).max() < 0.4


def test_another_seed_gives_another_rotation() -> None:
    one, same, other = (rotation(16, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)
