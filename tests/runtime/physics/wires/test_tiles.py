"""Tiles are what single cells become when they are joined one by one."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pytest

from pimc.runtime.physics.wires.block import SIDES, Block, ends, joined
from pimc.runtime.physics.wires.tiles import grown

Array64 = npt.NDArray[np.float64]

SIDE_OF_ONE = ends(dict.fromkeys(SIDES, 1))


def cell(g: float, along_ohm: float, down_ohm: float) -> Block:
    """Two wires, and a cell between: i = k (V_west - V_south + along J_east - down J_north)."""
    k = g / (1.0 + g * (along_ohm + down_ohm))
    drives = np.array([-1.0, 1.0, along_ohm, -down_ohm])
    s = k * np.outer(drives, drives)
    s[0, 3] -= 1.0
    s[3, 0] -= 1.0
    s[1, 2] -= 1.0
    s[2, 1] -= 1.0
    s[2, 2] -= along_ohm
    s[3, 3] -= down_ohm
    return Block(s, SIDE_OF_ONE, SIDE_OF_ONE)


def joined_one_by_one(g: Array64, along_ohm: float, down_ohm: Array64) -> Array64:
    rows = []
    for row, below in zip(g, down_ohm, strict=True):
        line = cell(row[0], along_ohm, below)
        for one in row[1:]:
            line = joined(line, cell(one, along_ohm, below), "east", "west")
        rows.append(line)
    whole = rows[0]
    for line in rows[1:]:
        whole = joined(whole, line, "north", "south")
    return whole.s


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("wire_ohm", [0.0, 1.0, 500.0])
def test_they_are_their_cells_joined_one_by_one(side: int, wire_ohm: float) -> None:
    rng = np.random.default_rng(side)
    g: Array64 = rng.uniform(0.0, 300e-6, (2 * side, side))
    g[rng.random(g.shape) < 0.1] = 0.0
    down_ohm = wire_ohm * rng.uniform(0.5, 2.0, len(g))
    found = grown(g, wire_ohm, down_ohm, side)
    assert found.s.shape == (2, 1, 4 * side, 4 * side)
    assert found.answers == found.given == ends(dict.fromkeys(SIDES, side))
    for row in range(2):
        part = slice(row * side, (row + 1) * side)
        expected = joined_one_by_one(g[part], wire_ohm, down_ohm[part])
        assert found.s[row, 0] == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_their_matrices_are_symmetric() -> None:
    g = np.random.default_rng(1).uniform(1e-6, 40e-6, (16, 32))
    s = grown(g, 2.0, np.full(16, 3.0), 16).s
    assert np.array_equal(s, s.swapaxes(-1, -2))


@pytest.mark.parametrize("threads", [2, 3])
def test_they_are_the_same_however_many_threads_make_them(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    g, below = rng.uniform(1e-6, 40e-6, (48, 32)), rng.uniform(0.5, 2.0, 48)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    alone = grown(g, 1.0, below, 16)
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    assert np.array_equal(grown(g, 1.0, below, 16).s, alone.s)
