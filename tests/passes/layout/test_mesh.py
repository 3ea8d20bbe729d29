"""Cores on the mesh: distances, and an order by annealing that is never worse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.passes.layout.mesh import annealed, distances, hops


def test_distances_are_hops() -> None:
    found = distances(5, 3)  # 0 1 2 / 3 4
    assert found[0].tolist() == [0, 1, 2, 1, 2]
    assert (found == found.T).all()


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_annealing_is_an_order_and_never_worse(parts: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    traffic = rng.random((parts, parts)) * (rng.random((parts, parts)) < 0.4)
    traffic = np.triu(traffic, 1) + np.triu(traffic, 1).T
    distance, plain = distances(parts, cols), np.arange(parts)
    order = annealed(traffic, distance, parts - 1)
    assert sorted(order) == plain.tolist()
    assert order[-1] == parts - 1
    assert hops(traffic, distance, order) <= hops(traffic, distance, plain) * (1 + 1e-9)
    np.testing.assert_array_equal(order, annealed(traffic, distance, parts - 1))


def test_annealing_finds_a_scrambled_chain() -> None:
    """Parts that talk to one neighbour each, on a line: nobody needs more than one hop."""
    parts = 12
    place = np.random.default_rng(3).permutation(parts)
    traffic = np.zeros((parts, parts))
    for a, b in pairwise(place.tolist()):
        traffic[a, b] = traffic[b, a] = 1.0
    distance = distances(parts, parts)
    assert hops(traffic, distance, np.arange(parts)) > 30
    assert hops(traffic, distance, annealed(traffic, distance, parts)) <= 15
