"""How good images are on held-out samples, and whether that is near enough to the float network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.progress import Progress
from pimc.studies.evaluate import Batches, Runs, figure, float_session, measure
from pimc.studies.spending.damage import State
from pimc.studies.spending.front import Point
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Task, unlike

__all__ = ["Checked", "Judge"]

#: What differences of shares are away from themselves: no drop is refused for it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Checked:
    """A point of the front that was compiled and measured.

    Attributes:
        number: its place on the front.
        value: the metric on held-out samples, mean over dies.
        drop: how much worse that is than the float network's.
        holds: whether the drop is allowed.
    """

    number: int
    point: Point
    value: float
    drop: float
    holds: bool


@dataclass(frozen=True)
class Judge:
    """Measures images on held-out samples.

    Attributes:
        max_drop: how much worse than ``in_float``, the float network's, the metric may be.
        agreement: the samples have no labels, and the float network's classes stand for them.
    """

    batches: Batches
    state: State
    max_drop: float
    in_float: float
    agreement: bool
    progress: Progress

    @staticmethod
    def of(
        image: Image, held: Dataset, task: Task, state: State, max_drop: float, progress: Progress
    ) -> Judge:
        """The judge of a network, whose float weights lie in an image.

        Raises:
            DataError: the samples lack what the task needs.
            UsageError: without labels, its first output is no list of classes.
        """
        agreement = task == CLASSIFICATION and "y" not in held.targets
        session = float_session(image)
        if agreement:
            held = replace(held, targets={"y": _classes(session, held)})
        batches = Batches(held, task=task).against(image)
        in_float = figure(batches, measure(session, batches))
        return Judge(batches, state, max_drop, in_float, agreement, progress)

    def __call__(self, number: int, point: Point, image: Image) -> Checked:
        """What an image of a point of the front is measured to be."""
        value = self.value(image)
        drop = self.batches.task.metric.worse_by(value, self.in_float)
        return Checked(number, point, value, drop, drop <= self.max_drop + _ROUNDING)

    def value(self, image: Image, *, converters: bool = True) -> float:
        """The metric of an image, mean over the dies."""
        values = [
            figure(self.batches, measure(s, self.batches, self.progress, description="checking"))
            for s in self.state.sessions(image, converters=converters)
        ]
        return float(np.mean(values))


def _classes(session: Runs, data: Dataset) -> npt.NDArray[np.int64]:
    """What the float network calls each sample.

    Raises:
        UsageError: its first output is no list of classes.
    """
    parts = [
        np.asarray(session.run(None, data.feed(start, start + 64))[0])
        for start in range(0, len(data), 64)
    ]
    if parts[0].ndim != 2:
        raise unlike(parts[0], "one list of classes a sample", CLASSIFICATION.name)
    found: npt.NDArray[np.int64] = np.concatenate(parts).argmax(axis=1).astype(np.int64)
    return found
