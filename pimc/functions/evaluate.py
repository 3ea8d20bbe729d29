"""``pimc.evaluate`` and ``pimc.explain``: how accurate an image is on dies, and what costs what."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pimc.errors import UsageError
from pimc.functions.given import AnyData, AnyDie, data_of, file_of, image_of, session_of
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.door.abilities import keep_disturb
from pimc.runtime.door.device import Saturation
from pimc.runtime.session import Session
from pimc.runtime.teacher import has_teacher
from pimc.studies.ablation import explain as explained
from pimc.studies.ablation_result import Explanation
from pimc.studies.drawn import FRESH, Reading
from pimc.studies.evaluate import Batches, accuracy, float_session
from pimc.studies.intervals import deviation, interval_of
from pimc.studies.montecarlo import Trial, measure_dies, measure_session
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.find import checked_task, task_named
from pimc.tasks.task import Task
from pimc.work.pool import Pool

__all__ = ["DIES", "AnyTask", "Evaluation", "batches_of", "evaluate", "explain", "seeds_of"]

#: A task, its name or its class; None: classification.
AnyTask = Task | type[Task] | str | None
#: Dies that are drawn where nobody says otherwise.
DIES = 5


@dataclass(frozen=True)
class Evaluation:
    """What dies make of data; of another task than classification read its figure for accuracy.

    Attributes:
        trials: of every die.
        float_accuracy: of the float network; None in an image without it.
        samples: how many were looked at.
        seconds: time that the dies took.
        task: what the outputs mean, and which figure is told.
    """

    trials: tuple[Trial, ...]
    float_accuracy: float | None
    samples: int
    seconds: float
    task: Task = CLASSIFICATION

    @property
    def accuracy_per_die(self) -> list[float]:
        """One figure a die."""
        return [trial.accuracy for trial in self.trials]

    @property
    def accuracy(self) -> float:
        """Their mean."""
        return float(np.mean(self.accuracy_per_die))

    @property
    def accuracy_std(self) -> float:
        """Their standard deviation."""
        return deviation(self.accuracy_per_die)

    @property
    def interval_95(self) -> tuple[float, float]:
        """95 % confidence interval of the mean, over dies and samples; of one die, samples."""
        return interval_of(self.task, [trial.units for trial in self.trials])

    @property
    def judged(self) -> int:
        """How many units the figure is made of: samples, or groups of them."""
        return len(self.trials[0].units)

    @property
    def figures(self) -> dict[str, Any]:
        """Further figures of the task by name, means over the dies."""
        return {**_mean([self.task.figures(trial.units) for trial in self.trials])}

    @property
    def saturation(self) -> dict[str, float]:
        """By layer, the share of conversions outside the ADC's range."""
        found: dict[str, Saturation] = {}
        for trial in self.trials:
            for layer, met in trial.saturation.items():
                found[layer] = found.get(layer, Saturation()) + met
        return {layer: met.share for layer, met in found.items()}

    @property
    def images_per_second(self) -> float:
        """Samples by all dies together."""
        return len(self.trials) * self.samples / max(self.seconds, 1e-9)


def evaluate(
    image: Image | Session | str | Path,
    data: AnyData | Batches,
    *,
    die: AnyDie = None,
    dies: int | Sequence[int] = DIES,
    device: str = "sim",
    seed: int = 0,
    reading: Reading = FRESH,
    task: AnyTask = None,
    pool: Pool | None = None,
    float_accuracy: bool = True,
    progress: Progress = silent,
) -> Evaluation:
    """Accuracy of an image on labelled data: over dies drawn from a seed, or on one chip.

    Args:
        image: an image or its file; or a session, which is measured as it is.
        data: labelled samples.
        die: the one chip: a die, an open chip or its file, which holds the image.
        dies: where there is no such chip: how many dies are drawn from ``seed`` on, or their seeds.
        device: name of the driver, where ``die`` is not open yet.
        seed: of the first die, and of read noise.
        reading: how drawn dies are read: how long after they were written, and so on.
        task: what outputs mean, or its name; classification if None. Batches have theirs.
        pool: where drawn dies are measured; in this process if None.
        float_accuracy: measure the float network, too, where the image holds it.
        progress: told of the batches or dies.

    Raises:
        DataError: no labels, labels beyond the classes, or inputs that do not fit.
        UsageError: the chip does not hold the image; a network whose accuracy cannot be measured.
        DeviceError: the chip failed.
        WorkerError: workers die again and again.
    """
    loaded = image_of(image)
    batches, in_float = batches_of(data, loaded, task, progress), None
    if float_accuracy and has_teacher(loaded):
        in_float = accuracy(float_session(loaded), batches, progress=progress, description="float")
    start = time.perf_counter()
    if die is None and not isinstance(image, Session):
        seeds = seeds_of(dies, seed)
        trials = measure_dies(loaded, batches, seeds, reading=reading, pool=pool, progress=progress)
    else:
        session = session_of(image, die, driver=device, seed=seed)
        trials = [measure_session(session, batches, progress)]
        keep_disturb(session.device, file_of(die))
    seconds = time.perf_counter() - start
    return Evaluation(tuple(trials), in_float, len(batches.data), seconds, batches.task)


def explain(
    image: Image | str | Path,
    data: AnyData | Batches,
    *,
    dies: int | Sequence[int] = DIES,
    seed: int = 0,
    reading: Reading = FRESH,
    task: AnyTask = None,
    evaluation: Evaluation | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Which element of the chip costs how much accuracy, on dies that differ in it alone.

    Args:
        image: an image or its file.
        data: labelled samples.
        dies: how many dies are drawn from ``seed`` on, or their seeds.
        seed: of the first die.
        reading: how dies are read.
        task: as of :func:`evaluate`.
        evaluation: what :func:`evaluate` found for the same image, data, dies and reading, which
            then is not measured again.
        progress: told of the dies measured.

    Raises:
        DataError, UsageError: as :func:`evaluate` does.
    """
    loaded = image_of(image)
    known = None if evaluation is None else [trial.units for trial in evaluation.trials]
    return explained(
        loaded,
        batches_of(data, loaded, task, progress),
        seeds_of(dies, seed),
        known=known,
        in_float=None if evaluation is None else evaluation.float_accuracy,
        reading=reading,
        progress=progress,
    )


def batches_of(
    data: AnyData | Batches,
    image: Image,
    task: AnyTask = None,
    progress: Progress = silent,
) -> Batches:
    """Samples in batches, with what their outputs are judged by.

    Raises:
        UsageError: there is no such task, or batches have another.
    """
    if isinstance(data, Batches):
        if task is not None and task_of(task) != data.task:
            raise UsageError("the batches have a task", where="task", hint="name it there alone")
        return data.against(image, progress)
    return Batches(data_of(data, image, "test"), task=task_of(task)).against(image, progress)


def task_of(task: AnyTask) -> Task:
    """The task, by its name or its class; classification if None.

    Raises:
        UsageError: there is no such task, or it is none.
    """
    if task is None:
        return CLASSIFICATION
    return task_named(task) if isinstance(task, str) else checked_task(task, str(task))


def _mean(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], Mapping):
        return float(np.mean(values))
    # Not every die has every entry: a class that only one of them calls, say.
    names = dict.fromkeys(name for one in values for name in one)
    return {name: _mean([one[name] for one in values if name in one]) for name in names}


def seeds_of(dies: int | Sequence[int], seed: int) -> tuple[int, ...]:
    """Seeds of so many dies from ``seed`` on, or those that were given.

    Raises:
        UsageError: there is none.
    """
    if isinstance(dies, float | str):
        raise UsageError(f"{dies!r} is no number of dies", where="dies", hint="give a whole number")
    found = tuple(dies) if isinstance(dies, Iterable) else tuple(range(seed, seed + int(dies)))
    if not found:
        raise UsageError("no dies to measure", where="dies", hint="give one at least")
    return found
