"""The greedy choice of writes against the plain one: every cell looked at, H r worked out anew."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import numpy.typing as npt
import pytest

from pimc.passes.recover.write.greedy import Columns, Found, sweep

Write = tuple[int, int, float]


def columns_of(seed: int, planes: int, barred: bool) -> Columns:
    rng = np.random.default_rng(seed)
    groups, cols, rows, levels = 2, 3, 30, 7
    inputs = rng.standard_normal((groups, 50, rows)) + rng.standard_normal((1, 50, 1))
    inputs[0, :, 4] = 0.0  # a row that is never driven
    moments = inputs.transpose(0, 2, 1) @ inputs / 50
    shape = (groups, cols, rows, planes)
    levels_us = np.sort(rng.uniform(0, 50, levels))
    away = rng.standard_normal((groups, cols, rows))
    asked = rng.integers(0, levels, shape)
    return Columns(
        moments=moments,
        pull=(away @ moments).copy(),
        held_us=levels_us[asked] + 3 * rng.standard_normal(shape),
        spread=rng.uniform(0.1, 9.0, shape),
        open_=rng.random(shape) < 0.9,
        barred=(asked if barred else np.full(shape, -1)).astype(np.int16),
        unit=rng.standard_normal((groups, cols, planes)) / 10,
        worth=rng.uniform(0.1, 3.0, (groups, cols)),
        levels_us=levels_us,
        middles_us=(levels_us[1:] + levels_us[:-1]) / 2,
        landing=rng.uniform(0.5, 4.0, levels),
    )


def plainly(columns: Columns, least: float) -> list[Write]:
    """By definition: place of the cell, level, gain; ``columns`` follow as those of a sweep do."""
    found: list[Write] = []
    groups, cols, rows, planes = columns.held_us.shape
    for g, n, r in np.ndindex(groups, cols, rows):
        pull, weight = columns.pull[g, n, r], columns.moments[g, r, r]
        best: tuple[float, int, int, float] = (0.0, 0, 0, 0.0)
        for p in range(planes):
            unit, held = columns.unit[g, n, p], columns.held_us[g, n, r, p]
            wish = held - pull / (weight or 1.0) / unit
            level = int(np.searchsorted(columns.middles_us, wish))
            if not columns.open_[g, n, r, p] or level == columns.barred[g, n, r, p]:
                continue
            move = unit * (columns.levels_us[level] - held)
            landing = unit**2 * (columns.landing[level] - columns.spread[g, n, r, p])
            gain = -(2 * move * pull + (move**2 + landing) * weight) * columns.worth[g, n]
            best = max(best, (gain, -p, level, move))
        gain, less, level, move = best
        if gain >= least:
            place = int(np.ravel_multi_index((g, n, r, -less), columns.held_us.shape))
            found.append((place, level, gain))
            columns.open_.reshape(-1)[place] = False
            columns.pull[g, n] += columns.moments[g] @ (move * np.eye(rows)[r])
    return found


def test_a_sweep_is_the_plain_choice() -> None:
    for seed, planes, barred in ((0, 1, False), (1, 2, False), (2, 3, True)):
        ours = columns_of(seed, planes, barred)
        theirs, room, total = deepcopy(ours), Found.of(ours), 0
        for least in (3.0, 1.0, 0.3, 0.1, 0.01, 1e-4):
            expected = plainly(theirs, least)
            count = sweep(ours, least, room)
            assert count == len(expected)
            assert room.place[:count].tolist() == [place for place, _, _ in expected]
            assert room.level[:count].tolist() == [level for _, level, _ in expected]
            gains: npt.NDArray[np.float64] = np.array([gain for _, _, gain in expected])
            np.testing.assert_allclose(room.gain[:count], gains, rtol=1e-9)
            total += count
        assert total > 40
        assert np.array_equal(ours.open_, theirs.open_)
        np.testing.assert_allclose(ours.pull, theirs.pull, atol=1e-12)


@pytest.mark.parametrize("least", [1e-6, 0.5])
def test_what_is_closed_stays_closed(least: float) -> None:
    columns = columns_of(5, 2, barred=False)
    columns.open_[:] = False
    assert sweep(columns, least, Found.of(columns)) == 0
