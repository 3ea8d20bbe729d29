"""What a detector's outputs say: boxes with a class and a score, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pimc.errors import UsageError
from pimc.tasks.task import Array

__all__ = ["BoxesAndScores", "Decode", "overlaps", "suppressed"]

#: From outputs by name to (images, boxes, 6): class, score, x1, y1, x2, y2. A negative class is
#: no box.
Decode: TypeAlias = Callable[[Mapping[str, Array]], Array]


@dataclass(frozen=True)
class BoxesAndScores:
    """Outputs of one box a place, (images, places, 4), and its scores, (images, places, classes).

    The output whose last axis is 4 holds the boxes, in the units of the targets; another one of
    three axes the scores. Of the boxes of a class that overlap the best one stays.

    Attributes:
        form: corners, or centre and size.
        background: the class that is none, whose scores are left out and which has no number; None
            where every class is one.
        least: score below which a box is none.
        overlap: intersection over union from which two boxes of a class are the same.
        keep: most boxes of an image, those with the best scores.
    """

    form: Literal["xyxy", "cxcywh"] = "xyxy"
    background: int | None = None
    least: float = 0.05
    overlap: float = 0.5
    keep: int = 100

    def __call__(self, outputs: Mapping[str, Array]) -> Array:
        """Class, score and corners of the best boxes of each image; class −1 where there is none.

        Raises:
            UsageError: outputs of other shapes.
        """
        boxes, scores = self._told(outputs)
        if self.form == "cxcywh":
            half = boxes[..., 2:] / 2
            boxes = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
        if self.background is not None:
            scores = np.delete(scores, self.background, axis=-1)
        return np.stack([self._of_image(b, s) for b, s in zip(boxes, scores, strict=True)])

    def _told(self, outputs: Mapping[str, Array]) -> tuple[Array, Array]:
        listed = [value for value in outputs.values() if value.ndim == 3]
        four = [value for value in listed if value.shape[2] == 4]
        boxes = four[0] if four else None
        scores = next((value for value in listed if value is not boxes), None)
        if boxes is None or scores is None or scores.shape[:2] != boxes.shape[:2]:
            shapes = ", ".join(f"{name} {list(v.shape)}" for name, v in outputs.items())
            raise UsageError(
                f"the outputs are {shapes}, not (images, places, 4) and (images, places, classes)",
                where="task detection",
                hint="give a task of your own that decodes them: Detection(decode=…)",
            )
        return boxes.astype(np.float64), scores.astype(np.float64)

    def _of_image(self, boxes: Array, scores: Array) -> Array:
        place, number = np.nonzero(scores >= self.least)
        found = np.column_stack([number, scores[place, number], boxes[place]])
        found = found[np.argsort(-found[:, 1], kind="stable")]
        found = found[suppressed(found, self.overlap)][: self.keep]
        padded = np.full((self.keep, 6), -1.0)
        padded[: len(found)] = found
        return padded


def suppressed(found: Array, overlap: float) -> Array:
    """Numbers of the boxes that stay, of boxes (n, 6) in the order of their scores."""
    stay: list[int] = []
    left = np.arange(len(found))
    while len(left):
        best, left = int(left[0]), left[1:]
        stay.append(best)
        same = found[left, 0] == found[best, 0]
        left = left[~(same & (overlaps(found[best, 2:], found[left, 2:]) >= overlap))]
    return np.array(stay, np.int64)


def overlaps(box: Array, others: Array) -> Array:
    """(n,) intersection over union of one box, x1, y1, x2, y2, with others (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    found: Array = shared / np.maximum(union, 1e-12)
    return found
