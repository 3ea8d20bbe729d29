"""Detection: boxes with classes against those that are there."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError, UsageError
from pimc.tasks.boxes import BoxesAndScores, Decode
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import Interval, jackknife_interval
from pimc.tasks.task import Array, Distilled, Samples, Task, target

__all__ = ["Detection"]


@dataclass(frozen=True)
class Detection(Task):
    """Mean average precision, COCO's: over classes and over overlaps of 0.5 to 0.95.

    T.-Y. Lin et al., doi:10.1007/978-3-319-10602-1_48, by pycocotools. ``boxes`` (images, most,
    4) are x1, y1, x2, y2 in the units of the decoded outputs and ``classes`` (images, most) their
    classes, negative where an image has fewer; ``crowd`` (images, most), which may be left out, is
    1 for crowds, in which what is found counts neither way. Units are (images, rows, 7): 1 for a
    box that was found, 2 for one that is there or 3 for a crowd (0: none), and class, score and
    corners.

    Attributes:
        decode: what outputs say.
    """

    decode: Decode = field(default_factory=BoxesAndScores)

    name: ClassVar[str] = "detection"
    metric: ClassVar[Metric] = Metric("mAP", "%", low=0.0, high=1.0)
    distills: ClassVar[Distilled] = "values"
    needs: ClassVar[tuple[str, ...]] = ("boxes", "classes")

    def reads(self, outputs: Sequence[str]) -> Sequence[str]:
        """All outputs."""
        return outputs

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """Boxes of both kinds."""
        found = self.decode(outputs)
        boxes, classes = samples.targets["boxes"], samples.targets["classes"]
        count = len(found)
        if boxes.shape != (count, *classes.shape[1:2], 4) or classes.shape != boxes.shape[:2]:
            raise DataError(
                f"boxes have shape {list(boxes.shape)} and classes {list(classes.shape)}",
                samples.where,
                f"give ({count}, most, 4) and ({count}, most) for {count} images",
            )
        boxes, classes = (
            target(samples, name, samples.targets[name].shape, kinds)
            for name, kinds in (("boxes", "iuf"), ("classes", "iu"))
        )
        if (boxes[..., :2] > boxes[..., 2:])[classes >= 0].any():
            raise DataError(
                "boxes whose second corner comes before the first",
                samples.where,
                "give x1, y1, x2, y2",
            )
        there = np.concatenate([classes[..., None], np.ones((*classes.shape, 1)), boxes], axis=-1)
        crowd = samples.targets.get("crowd", np.zeros(classes.shape))
        if crowd.shape != classes.shape:
            message = f"crowd has shape {list(crowd.shape)}, classes {list(classes.shape)}"
            raise DataError(message, samples.where, "say 0 or 1 of every box, or nothing")
        parts = []
        for kind, rows in ((np.array(1.0), found), (2.0 + (crowd[..., None] > 0), there)):
            kinds = np.where(rows[..., :1] >= 0, kind, 0.0)
            parts.append(np.concatenate([kinds, rows], axis=-1))
        return np.concatenate(parts, axis=1)

    def value(self, units: Array) -> float:
        """mAP; NaN where no box is there."""
        return _average_precisions(units)["map"]

    def figures(self, units: Array) -> Mapping[str, Any]:
        """``map_50`` and ``map_75``: at an overlap of 0.5 and of 0.75."""
        found = _average_precisions(units)
        return {name: found[name] for name in ("map_50", "map_75")}

    def resampled(self, value: Callable[[npt.NDArray[np.intp]], float], units: int) -> Interval:
        """Jackknife over groups of images: each evaluation takes long."""
        return jackknife_interval(value, units)


def _average_precisions(units: Array) -> dict[str, float]:
    """COCO's figures; NaN where no box is there.

    Raises:
        UsageError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as cause:
        raise UsageError(
            "detection needs the package pycocotools", hint="pip install 'pimc[detection]'"
        ) from cause
    entries = {1: _annotations(units, 1), 2: _annotations(units, 2, 3)}
    if all(row["iscrowd"] for row in entries[2]):
        return dict.fromkeys(("map", "map_50", "map_75"), float("nan"))
    classes = {int(row["category_id"]) for kind in entries.values() for row in kind}
    told = {}
    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        for kind, rows in entries.items():
            told[kind] = COCO()
            told[kind].dataset = {
                "images": [{"id": number} for number in range(len(units))],
                "categories": [{"id": number} for number in sorted(classes)],
                "annotations": rows,
            }
            told[kind].createIndex()
        found = COCOeval(told[2], told[1], "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    return dict(zip(("map", "map_50", "map_75"), map(float, found.stats[:3]), strict=True))


def _annotations(units: Array, *wanted: int) -> list[dict[str, Any]]:
    """Boxes of these kinds as COCO has them: corner, width and height."""
    rows: list[dict[str, Any]] = []
    for image, row in zip(*np.nonzero(np.isin(units[..., 0], wanted)), strict=True):
        kind, number, score, x1, y1, x2, y2 = units[image, row].tolist()
        size = x2 - x1, y2 - y1
        rows.append(
            {
                "id": len(rows) + 1,
                "image_id": int(image),
                "category_id": int(number),
                "bbox": [x1, y1, *size],
                "area": size[0] * size[1],
                "score": score,
                "iscrowd": int(kind == 3),
            }
        )
    return rows
