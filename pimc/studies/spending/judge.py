"""How good images are on held-out samples, and whether that is near enough to the float network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.progress import Progress
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import observer
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.studies.drawn import FRESH
from pimc.studies.evaluate import Batches, Runs, figure, float_session, measure
from pimc.studies.intervals import interval_of
from pimc.studies.spending.front import Point
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Array, Task, unlike

__all__ = ["Checked", "Judge", "State"]

#: What differences of shares are away from themselves: no drop is refused for it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class State:
    """What the chip holds when it is judged.

    Attributes:
        dies: seeds of dies that must hold the drop, too, beside perfect cells.
        recover: they are recovered before; else read as they were programmed.
        task: name of the task that recovery holds outputs to; judged by their shape if None.
    """

    dies: tuple[int, ...] = ()
    recover: bool = False
    task: str | None = None


@dataclass(frozen=True)
class Checked:
    """A point of the front that was compiled and measured.

    Attributes:
        number: its place on the front.
        cost: of the image as it was compiled, digital layers included.
        perfect: the metric of perfect cells on held-out samples.
        value: that of the state that counts: the mean over dies, if there are some and perfect
            cells hold the drop; else of perfect cells.
        interval: 95 %, over samples and dies.
        drop: how much worse ``value`` is than the float network's.
        dies: how many it is of; 0 for perfect cells.
        holds: whether the drop is allowed.
    """

    number: int
    point: Point
    cost: float
    perfect: float
    value: float
    interval: tuple[float, float]
    drop: float
    dies: int
    holds: bool


@dataclass(frozen=True)
class Judge:
    """Measures images on held-out samples.

    Attributes:
        max_drop: how much worse than ``in_float``, the float network's, the metric may be.
        agreement: the samples have no labels, and the float network's classes stand for them.
        calib: what dies are recovered on.
    """

    batches: Batches
    state: State
    max_drop: float
    in_float: float
    agreement: bool
    calib: Dataset = field(repr=False)
    progress: Progress = field(repr=False)

    @staticmethod
    def of(
        image: Image,
        held: Dataset,
        calib: Dataset,
        task: Task,
        state: State,
        max_drop: float,
        progress: Progress,
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
        return Judge(batches, state, max_drop, in_float, agreement, calib, progress)

    def __call__(self, number: int, point: Point, image: Image, cost: float) -> Checked:
        """What an image of a point of the front is measured to be."""
        units = [self._units(Session(image, die=Die.ideal()))]
        perfect = self._mean(units)
        dies = 0
        if self.state.dies and self.allows(self._drop(perfect)):
            units = [self._units(self._on_die(image, seed)) for seed in self.state.dies]
            dies = len(units)
        value = self._mean(units)
        drop = self._drop(value)
        return Checked(
            number, point, cost, perfect, value,
            interval_of(self.batches.task, units), drop, dies, self.allows(drop),
        )  # fmt: skip

    def without_converters(self, image: Image) -> float:
        """The drop of perfect cells without ADCs."""
        session = Session(image, die=Die.ideal(), converters=False)
        return self._drop(self._mean([self._units(session)]))

    def _on_die(self, image: Image, seed: int) -> Session:
        if not self.state.recover:
            return FRESH.session(image, seed)
        device = open_device(FRESH.driver, image, seed=seed)
        program(image, device)
        options = RecoverOptions(seed=seed, cost_images=0, task=self.state.task)
        done = recover(image, device, self.calib, options, progress=self.progress)
        return Session(done.image, die=observer(device, seed))

    def _units(self, session: Session) -> Array:
        return measure(session, self.batches, self.progress, description="checking")

    def _mean(self, dies: Sequence[Array]) -> float:
        return float(np.mean([figure(self.batches, units) for units in dies]))

    def _drop(self, value: float) -> float:
        return self.batches.task.metric.worse_by(value, self.in_float)

    def allows(self, drop: float) -> bool:
        """Whether a drop is allowed."""
        return drop <= self.max_drop + _ROUNDING


def _classes(session: Runs, data: Dataset) -> npt.NDArray[np.int64]:
    """What the float network calls each sample.

    Raises:
        UsageError: its first output is no list of classes.
    """
    parts = [
        np.asarray(session.run(None, data.feed(start, start + BATCH_SIZE))[0])
        for start in range(0, len(data), BATCH_SIZE)
    ]
    if parts[0].ndim != 2:
        raise unlike(parts[0], "one list of classes a sample", CLASSIFICATION.name)
    found: npt.NDArray[np.int64] = np.concatenate(parts).argmax(axis=1).astype(np.int64)
    return found
