"""What recovery leaves: less where rows go together, all of a layer that gets nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.passes.quantize.left import LEFT_ALONE, left_by_recovery


def moments(rows: int, together: float) -> np.ndarray:
    """(1, rows, rows), of which a part is common to all rows."""
    common = np.full((rows, rows), together) + (1 - together) * np.eye(rows)
    return common[None]


def test_of_independent_rows_the_unwritten_ones_are_left() -> None:
    (left,) = left_by_recovery(moments(100, 0.0))
    # 90 rows without the largest errors, and the writes of the last round.
    assert left == pytest.approx(0.561 * 0.9 + 0.4 * 0.1)
    assert left == pytest.approx(LEFT_ALONE)


def test_the_more_rows_go_together_the_less_is_left() -> None:
    left = [float(left_by_recovery(moments(50, part))[0]) for part in (0.0, 0.5, 0.9, 0.999)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.05 < 0.3 < left[1]


def test_it_is_what_no_choice_of_those_rows_makes_up_for() -> None:
    rng = np.random.default_rng(3)
    mix = rng.standard_normal((40, 12))
    h = mix @ mix.T + 0.1 * np.eye(40)
    rest, left = np.arange(40), h.copy()
    chosen: list[int] = []
    for _ in range(4):
        pivot = int(np.diag(left).argmax())
        chosen.append(pivot)
        left = left - np.outer(left[pivot], left[pivot]) / left[pivot, pivot]
    inside, rest = np.array(chosen), np.setdiff1d(rest, chosen)
    cross = h[np.ix_(rest, inside)]
    schur = h[np.ix_(rest, rest)] - cross @ np.linalg.inv(h[np.ix_(inside, inside)]) @ cross.T
    share, fresh = np.trace(schur) / np.trace(h), np.diag(h)[inside].sum() / np.trace(h)
    assert left_by_recovery(h[None])[0] == pytest.approx(0.561 * share + 0.4 * fresh)


def test_groups_are_judged_on_their_own_however_strong_they_are() -> None:
    together, apart = moments(30, 0.95), moments(30, 0.0)
    both = left_by_recovery(np.concatenate([together * 1e6, apart, np.zeros((1, 30, 30))]))
    assert both[0] == pytest.approx(left_by_recovery(together)[0])
    assert both[1] == pytest.approx(left_by_recovery(apart)[0])
    assert np.isfinite(both[2])


def test_few_rows_get_a_part_of_a_write() -> None:
    one, nine = (float(left_by_recovery(moments(rows, 0.0))[0]) for rows in (1, 9))
    assert one == pytest.approx(nine) == pytest.approx(LEFT_ALONE)
