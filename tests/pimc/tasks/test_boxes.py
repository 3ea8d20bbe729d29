"""Boxes out of a detector's outputs."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import UsageError
from pimc.tasks.boxes import BoxesAndScores, overlaps

BOXES = np.array([[[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]]], float)
SCORES = np.array([[[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 0.7]]])


def test_the_best_of_boxes_that_overlap_stays() -> None:
    found = BoxesAndScores(background=0, keep=4)({"s": SCORES, "b": BOXES})
    assert found.shape == (1, 4, 6)
    assert found[0, :2].tolist() == [[0, 0.9, 0, 0, 10, 10], [1, 0.7, 20, 20, 30, 30]]
    assert (found[0, 2:, 0] < 0).all()
    # Nothing is the same box where only a perfect overlap is.
    loose = BoxesAndScores(background=0, overlap=1.0)({"s": SCORES, "b": BOXES})
    assert (loose[0, :, 0] >= 0).sum() == 3
    # Without a background the first class is one, and its boxes count.
    assert (BoxesAndScores()({"s": SCORES, "b": BOXES})[0, :, 0] >= 0).sum() == 3


def test_centre_and_size_are_corners() -> None:
    centred = np.concatenate([(BOXES[..., :2] + BOXES[..., 2:]) / 2, np.diff(
        BOXES.reshape(1, 3, 2, 2), axis=2)[:, :, 0]], axis=-1)  # fmt: skip
    one = BoxesAndScores(background=0)({"s": SCORES, "b": BOXES})
    two = BoxesAndScores(form="cxcywh", background=0)({"s": SCORES, "b": centred})
    np.testing.assert_allclose(one, two)


def test_overlap_is_intersection_over_union() -> None:
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    assert overlaps(others[0], others) == pytest.approx([1, 50 / 150, 0])


def test_outputs_that_are_no_boxes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the outputs are b \[1, 3, 4\], not"):
        BoxesAndScores()({"b": BOXES})
