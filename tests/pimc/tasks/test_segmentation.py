"""Mean IoU by counting pixels one by one."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import DataError, UsageError
from pimc.tasks.segmentation import Segmentation
from pimc.tasks.task import Samples

TASK = Segmentation()


def test_mean_iou_over_the_pixels_of_all_images() -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((5, 3, 4, 6)), rng.integers(0, 2, (5, 4, 6))
    values[:, 2] -= 9  # the third class is neither met nor called
    labels[0, 0, 0], labels[1, 2, 3] = 255, -1
    units = TASK.scores({"y": values}, Samples({}, {"y": labels}))
    called, counts = values.argmax(axis=1), (labels >= 0) & (labels != 255)
    each = {
        str(c): ((called == c) & (labels == c) & counts).sum()
        / (((called == c) | (labels == c)) & counts).sum()
        for c in (0, 1)
    }
    assert TASK.figures(units)["iou_per_class"] == pytest.approx(each)
    assert TASK.value(units) == pytest.approx(np.mean(list(each.values())))
    assert TASK.figures(units)["pixel_accuracy"] == pytest.approx((called == labels)[counts].mean())
    low, high = TASK.interval([units])
    assert low < TASK.value(units) < high


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="not \\(images, classes, height, width\\)"):
        TASK.scores({"y": np.zeros((2, 3))}, Samples({}, {"y": np.zeros(2, int)}))
    labels = np.full((2, 4, 4), 3)
    with pytest.raises(DataError, match="label 3 is beyond the network's 3 classes"):
        TASK.scores({"y": np.zeros((2, 3, 4, 4))}, Samples({}, {"y": labels}))
