"""Word error rates of the best path."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import UsageError
from pimc.tasks.speech import Speech
from pimc.tasks.task import Samples

pytest.importorskip("jiwer", reason="an extra")


def scored(task: Speech, paths: list[list[int]], said: list[list[int]]) -> np.ndarray:
    return task.scores({"y": np.eye(9)[np.array(paths)]}, Samples({}, {"y": np.array(said)}))


def test_equal_neighbours_are_one_and_blanks_fall_away() -> None:
    task = Speech()
    found = scored(task, [[1, 1, 0, 1, 2, 2], [3, 0, 0, 3, 4, 0]], [[1, 1, 2], [3, 3, 4]])
    assert found.tolist() == [[0, 3], [0, 3]]
    assert (task.value(found), task.figures(found)) == (0, {"recordings_right": 1.0})


def test_wrong_missing_and_additional_words_count() -> None:
    found = scored(Speech(), [[1, 5, 3, 0], [1, 0, 0, 0], [1, 2, 3, 4]], [[1, 2, 3], [1, 2, -1],
                   [1, 2, 3]])  # fmt: skip
    assert found.tolist() == [[1, 3], [1, 2], [1, 3]]
    assert Speech().value(found) == pytest.approx(3 / 8)
    low, high = Speech().interval([found])
    assert low < 3 / 8 < high


def test_words_are_what_stands_between_spaces() -> None:
    task = Speech(blank=0, space=8)
    # "12 3 4" was said, "12 34" was heard.
    found = scored(task, [[1, 2, 8, 3, 0, 4]], [[1, 2, 8, 3, 8, 4]])
    assert found.tolist() == [[2, 3]]


def test_outputs_that_are_no_paths_are_refused() -> None:
    with pytest.raises(UsageError, match="not \\(recordings, steps, tokens\\)"):
        Speech().scores({"y": np.zeros((2, 3))}, Samples({}, {"y": np.zeros((2, 3), int)}))
