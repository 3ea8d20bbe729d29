"""Draws of read noise: normal, independent, and the same in both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pimc.runtime.physics.streams import READ_STRETCH, read_key
from pimc.runtime.read.noise import (
    normals,
    torch_normals,
    vector_keys,
)

KEY = read_key(die_seed=3, read_seed=4)


def sample(count: int = 500, vectors: int = 2000, *, region: int = 7) -> np.ndarray:
    return normals(vector_keys(KEY, region, 0, vectors), 0, count).numpy().astype(np.float64)


def test_both_implementations_draw_the_same_numbers() -> None:
    keys = vector_keys(KEY, 17, READ_STRETCH - 300, 600)
    expected = torch_normals(keys, 11, 400).numpy()
    found = normals(keys, 11, 400).numpy()
    assert np.abs(found - expected).max() < 4e-6


def test_draws_are_standard_normal() -> None:
    z = sample().reshape(-1)
    n = len(z)
    # Standard errors of the first four moments of a normal sample.
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    for bound in (2.0, 3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(bound)
        assert abs((np.abs(z) > bound).mean() - expected) < 5 * np.sqrt(expected / n)
    assert stats.kstest(z[::20], "norm").pvalue > 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["pairs", "columns of a pair", "vectors"])
def test_neighbours_are_independent(axis: int) -> None:
    z = np.moveaxis(sample(), axis, 0)
    here, there = z[:-1].reshape(-1), z[1:].reshape(-1)
    for power in (1, 2):
        found = np.corrcoef(here**power, there**power)[0, 1]
        assert abs(found) < 5 / np.sqrt(len(here))


def test_regions_and_seeds_have_draws_of_their_own() -> None:
    first = sample(100)
    others = [
        sample(100, region=8),
        normals(vector_keys(read_key(3, 5), 7, 0, 2000), 0, 100).numpy(),
        normals(vector_keys(read_key(4, 4), 7, 0, 2000), 0, 100).numpy(),
        normals(vector_keys(KEY, 7, 2000, 2000), 0, 100).numpy(),
    ]
    for other in others:
        found = np.corrcoef(first.reshape(-1), other.reshape(-1))[0, 1]
        assert abs(found) < 5 / np.sqrt(first.size)


def test_no_key_is_used_twice() -> None:
    """Not by neighbouring vectors either, whose draws would go together."""
    words = torch.cat(
        [vector_keys(KEY, region, 0, 3 * READ_STRETCH).flatten() for region in (7, 8)]
    )
    # 12,288 words of 32 bits: two are the same by chance once in a hundred times.
    assert len(words.unique()) == len(words)


@pytest.mark.parametrize("first", [0, 5, 1020, 2**33 + 7])
def test_a_draw_does_not_depend_on_how_many_are_drawn(first: int) -> None:
    together = vector_keys(KEY, 7, first, 50)
    apart = torch.cat([vector_keys(KEY, 7, first + n, 1) for n in range(50)], dim=1)
    assert torch.equal(together, apart)
    assert torch.equal(normals(together, 3, 9)[4:], normals(together, 7, 5))
