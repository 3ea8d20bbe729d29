"""Arrays of non-linear cells, against Newton's method for all nodes at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.errors import DeviceError
from pimc.runtime.physics.wires import curved
from pimc.runtime.physics.wires.curved import CurvedArray
from pimc.runtime.physics.wires.grid import answer
from tests.runtime.physics import kirchhoff

Array64 = npt.NDArray[np.float64]

shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))
seeds = st.integers(0, 2**32 - 1)


def currents(g_us: Array64, wire_ohm: float, alpha: float, drives: Array64) -> Array64:
    """In µA a volt; rows as everywhere else, the last next to the amplifiers."""
    g = torch.from_numpy(1e-6 * g_us[::-1].T.copy())
    array = CurvedArray(g, wire_ohm, [wire_ohm] * len(g_us), alpha)
    return 1e6 * array.currents(torch.from_numpy(drives[:, ::-1].copy())).numpy()


@given(shapes, st.floats(0.1, 300), st.floats(0.01, 8), seeds)
@settings(max_examples=30, deadline=None)
def test_it_obeys_kirchhoff(
    shape: tuple[int, int], wire_ohm: float, alpha: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    g_us = rng.uniform(1, 300, shape)
    drives = np.concatenate([np.ones((1, shape[0])), rng.uniform(-1, 1, (2, shape[0]))])
    expected = np.stack([kirchhoff.curved(g_us, wire_ohm, alpha, drive) for drive in drives])
    found = currents(g_us, wire_ohm, alpha, drives)
    assert found == pytest.approx(expected, abs=1e-6 * g_us.sum(axis=0).max())


def test_no_vectors_give_no_currents() -> None:
    assert currents(np.full((3, 2), 20.0), 1.0, 2.0, np.zeros((0, 3))).shape == (0, 2)


def test_hardly_bent_cells_answer_with_the_matrix_of_linear_ones() -> None:
    rng = np.random.default_rng(1)
    g_us, drives = rng.uniform(1, 40, (40, 30)), rng.uniform(-1, 1, (4, 40))
    linear = 1e6 * answer(1e-6 * g_us[::-1], 5.0, np.full(40, 5.0))[::-1]
    assert currents(g_us, 5.0, 1e-4, drives) == pytest.approx(drives @ linear, rel=1e-6, abs=1e-4)


def test_without_resistance_every_cell_has_its_full_voltage() -> None:
    rng = np.random.default_rng(2)
    g_us, drives = rng.uniform(1, 40, (6, 7)), rng.uniform(-1, 1, (3, 6))
    expected = np.sinh(3.0 * drives) / np.sinh(3.0) @ g_us
    assert currents(g_us, 0.0, 3.0, drives) == pytest.approx(expected, rel=1e-9)


def test_how_many_vectors_are_solved_at_a_time_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    g_us, drives = rng.uniform(1, 40, (6, 7)), rng.uniform(-1, 1, (9, 6))
    expected = currents(g_us, 50.0, 2.0, drives)
    monkeypatch.setattr(curved, "_AT_A_TIME", 100)
    assert currents(g_us, 50.0, 2.0, drives) == pytest.approx(expected, abs=1e-4)


def test_it_says_so_when_nothing_comes_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curved, "_PATIENCE", 1)
    with pytest.raises(DeviceError, match="do not come to rest"):
        currents(np.full((3, 3), 40.0), 100.0, 2.0, np.ones((1, 3)))
