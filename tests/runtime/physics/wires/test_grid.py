"""What arrays answer with: against Kirchhoff's laws, closed forms and what physics demands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.runtime.physics.ir_drop import nodal_us
from pimc.runtime.physics.wires import grid
from pimc.runtime.physics.wires.grid import answer
from tests.runtime.physics.kirchhoff import sparse_us

Array64 = npt.NDArray[np.float64]

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def cells(seed: int, shape: tuple[int, int]) -> Array64:
    """Some conductances in S, one cell in ten open."""
    rng = np.random.default_rng(seed)
    g: Array64 = rng.uniform(1e-6, 300e-6, shape)
    g[rng.random(shape) < 0.1] = 0.0
    return g


@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (17, 1), (8, 8), (33, 20), (9, 65), (100, 6)])
@pytest.mark.parametrize("wire_ohm", [1e-3, 1.0, 500.0])
def test_it_agrees_with_a_sparse_factorization(shape: tuple[int, int], wire_ohm: float) -> None:
    g_us = 1e6 * cells(3, shape)
    # Wordlines in between and below are not driven.
    wordlines = np.sort(np.random.default_rng(4).choice(2 * shape[0], shape[0], replace=False))
    rows = 2 * shape[0] + 1
    expected = sparse_us(g_us, wordlines, rows, wire_ohm)
    found = nodal_us(g_us, wordlines, rows, wire_ohm)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 2])
def test_how_many_tiles_are_made_at_once_does_not_matter(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = cells(5, (50, 90))
    expected = answer(g, 2.0, np.full(50, 2.0))
    monkeypatch.setattr(grid, "_AT_ONCE", at_once)
    assert answer(g, 2.0, np.full(50, 2.0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(64, 64), (200, 90)])
def test_equal_cells_have_a_closed_form(shape: tuple[int, int]) -> None:
    """With equal cells the modes of both kinds of line part, and every pair answers for itself."""
    (rows, columns), g, ohm = shape, 20e-6, 3.0
    (down, of_rows), (along, of_columns) = modes(rows, ohm), modes(columns, ohm)
    weights = (
        of_columns.sum(axis=0) / (1 / g + along + down[:, None]) * of_rows.sum(axis=0)[:, None]
    )
    found = answer(np.full(shape, g), ohm, np.full(rows, ohm))
    assert found == pytest.approx(of_rows @ weights @ of_columns.T, rel=1e-9)


def modes(count: int, ohm: float) -> tuple[Array64, Array64]:
    """Resistances and modes of a line that is held at one end."""
    line = 2.0 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)
    line[-1, -1] = 1.0
    values, vectors = np.linalg.eigh(line)
    return ohm / values, vectors


@given(shapes, seeds)
@settings(max_examples=20, deadline=None)
def test_without_resistance_it_is_the_cells(shape: tuple[int, int], seed: int) -> None:
    g = cells(seed, shape)
    assert answer(g, 0.0, np.zeros(shape[0])) == pytest.approx(g, rel=1e-12)


@given(shapes, st.floats(0.01, 500), st.floats(0.01, 500), seeds)
@settings(max_examples=20, deadline=None)
def test_drivers_and_amplifiers_may_change_places(
    shape: tuple[int, int], along_ohm: float, down_ohm: float, seed: int
) -> None:
    g = cells(seed, shape)
    there = answer(g, along_ohm, np.full(shape[0], down_ohm))
    back = answer(g.T, down_ohm, np.full(shape[1], along_ohm))
    assert there == pytest.approx(back.T, rel=1e-9, abs=1e-15)


@given(shapes, st.floats(0.01, 500), seeds)
@settings(max_examples=20, deadline=None)
def test_more_resistance_takes_more_power(
    shape: tuple[int, int], wire_ohm: float, seed: int
) -> None:
    g = cells(seed, shape)
    # All drivers at one volt: the power is the current. Rayleigh: no resistance can raise it.
    power = answer(g, wire_ohm, np.full(shape[0], wire_ohm)).sum()
    down_ohm = np.full(shape[0], wire_ohm)
    down_ohm[np.random.default_rng(seed).integers(shape[0])] *= 2.0
    assert answer(g, wire_ohm, down_ohm).sum() <= power * (1 + 1e-12)
    assert answer(g, 2.0 * wire_ohm, np.full(shape[0], wire_ohm)).sum() <= power * (1 + 1e-12)
    assert answer(0.5 * g, wire_ohm, np.full(shape[0], wire_ohm)).sum() <= power * (1 + 1e-12)


def test_open_lines_answer_nothing() -> None:
    g = cells(1, (20, 30))
    g[7], g[:, 11] = 0.0, 0.0
    found = answer(g, 5.0, np.full(20, 5.0))
    assert not found[7].any()
    assert not found[:, 11].any()
    # A row that conducts nothing is but a longer wire to the others.
    down_ohm = np.full(19, 5.0)
    down_ohm[7] = 10.0
    rest = answer(np.delete(g, 7, axis=0), 5.0, down_ohm)
    assert np.delete(found, 7, axis=0) == pytest.approx(rest, rel=1e-9)
