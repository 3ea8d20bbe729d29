"""Mean average precision, as COCO has it."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import DataError
from pimc.tasks.detection import Detection
from pimc.tasks.task import Samples

pytest.importorskip("pycocotools", reason="an extra")
TASK = Detection()
THERE = np.array([[0, 0, 50, 50], [60, 60, 100, 100]], float)


def units(boxes: np.ndarray, scores: np.ndarray, classes: list[int]) -> np.ndarray:
    """Of one image on which two boxes are."""
    targets = {"boxes": THERE[None], "classes": np.array([classes])}
    return TASK.scores({"b": boxes[None], "s": scores[None]}, Samples({}, targets))


def test_perfect_boxes_reach_one_and_those_of_the_other_class_nothing() -> None:
    scores = np.array([[0.9, 0.0], [0.0, 0.8]])
    found = units(THERE, scores, [0, 1])
    assert TASK.value(found) == pytest.approx(1)
    assert TASK.figures(found) == pytest.approx({"map_50": 1, "map_75": 1})
    assert TASK.value(units(THERE, scores, [1, 0])) == 0
    # One of two classes is missed.
    assert TASK.value(units(THERE, np.array([[0.9, 0], [0, 0]]), [0, 1])) == pytest.approx(0.5)


def test_an_overlap_counts_up_to_where_it_reaches() -> None:
    moved = THERE.copy()
    moved[:, 2] = moved[:, 0] + 0.72 * (moved[:, 2] - moved[:, 0])  # an overlap of 0.72
    found = units(moved, np.array([[0.9, 0.0], [0.0, 0.8]]), [0, 1])
    assert TASK.figures(found) == pytest.approx({"map_50": 1, "map_75": 0})
    assert TASK.value(found) == pytest.approx(0.5)  # 0.5, 0.55, 0.6, 0.65 and 0.7 of ten


def test_images_are_drawn_whole_and_places_without_a_box_do_not_count() -> None:
    right = units(THERE, np.array([[0.9, 0.0], [0.0, 0.8]]), [0, 1])
    wrong = units(THERE + 200, np.array([[0.9, 0.0], [0.0, 0.8]]), [0, 1])
    images = np.concatenate([right, wrong] * 12)
    low, high = TASK.interval([images])
    assert low < TASK.value(images) < high
    each, (low, high) = TASK.differences([np.concatenate([right] * 24)], [images])
    assert each == pytest.approx([1 - TASK.value(images)])
    assert low < each[0] < high
    fewer = units(THERE, np.array([[0.9, 0.0], [0.0, 0.0]]), [0, -1])
    assert TASK.value(fewer) == pytest.approx(1)
    assert np.isnan(TASK.value(units(THERE, np.zeros((2, 2)), [-1, -1])))


def test_what_is_found_in_a_crowd_counts_neither_way() -> None:
    scores = np.array([[0.8, 0.0], [0.9, 0.0]])  # the better one lies in the crowd
    targets = {"boxes": THERE[None], "classes": np.array([[0, 0]]), "crowd": np.array([[0, 1]])}
    outputs = {"b": THERE[None], "s": scores[None]}
    found = TASK.scores(outputs, Samples({}, targets))
    assert TASK.value(found) == pytest.approx(1)
    missed = TASK.scores({**outputs, "s": scores[None] * [[[1], [0]]]}, Samples({}, targets))
    assert TASK.value(missed) == pytest.approx(1)  # a crowd that is not found is no miss
    alone = {**targets, "classes": np.array([[0, -1]])}
    twice = TASK.scores(outputs, Samples({}, {**alone, "crowd": np.array([[0, 0]])}))
    assert TASK.value(twice) == pytest.approx(0.5)
    assert np.isnan(
        TASK.value(TASK.scores(outputs, Samples({}, {**targets, "crowd": np.ones((1, 2))})))
    )
    with pytest.raises(DataError, match=r"crowd has shape \[1\]"):
        TASK.scores(outputs, Samples({}, {**targets, "crowd": np.ones(1)}))


def test_targets_that_do_not_fit_are_refused() -> None:
    targets = {"boxes": THERE[None, :, :2], "classes": np.array([[0, 1]])}
    with pytest.raises(DataError, match=r"boxes have shape \[1, 2, 2\]"):
        TASK.scores({"b": THERE[None], "s": np.ones((1, 2, 3))}, Samples({}, targets))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("boxes", THERE[None].astype(str), "boxes holds <U32, not real numbers"),
        ("boxes", THERE[None] * np.nan, "NaN or infinity in boxes"),
        ("boxes", THERE[None][..., [2, 3, 0, 1]], "second corner comes before the first"),
        ("classes", np.array([["a", "b"]]), "classes holds <U1, not whole numbers"),
        ("classes", np.array([[0.5, 1]]), "classes holds float64, not whole numbers"),
        ("classes", np.array([0]), r"boxes have shape \[1, 2, 4\] and classes \[1\]"),
    ],
)
def test_targets_that_are_no_boxes_are_refused(name, value, said) -> None:
    targets = {"boxes": THERE[None], "classes": np.array([[0, 1]]), name: value}
    with pytest.raises(DataError, match=said):
        TASK.scores({"b": THERE[None], "s": np.ones((1, 2, 3))}, Samples({}, targets))
