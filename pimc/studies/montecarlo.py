"""Many dies of one image: what each of them makes of the same data."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.door.device import Saturation
from pimc.runtime.session import Session
from pimc.studies.drawn import FRESH, Reading
from pimc.studies.evaluate import Batches, figure, measure
from pimc.tasks.task import Array
from pimc.work.pool import Here, Pool, completed

__all__ = ["Trial", "measure_die", "measure_dies", "measure_session", "shareable"]


@dataclass(frozen=True)
class Trial:
    """One die, measured.

    Attributes:
        die: its name.
        accuracy: share of samples that it gets right; of another task than classification the
            task's figure.
        seconds: how long it took.
        saturation: of the converters, by layer.
        units: what the figure is made of (:meth:`~pimc.tasks.task.Task.units`).
    """

    die: str
    accuracy: float
    seconds: float
    saturation: Mapping[str, Saturation]
    units: Array = field(repr=False, compare=False)


def measure_dies(
    image: Image,
    batches: Batches,
    seeds: Sequence[int],
    *,
    reading: Reading = FRESH,
    pool: Pool | None = None,
    progress: Progress = silent,
) -> list[Trial]:
    """Measure dies drawn from ``seeds``; the same whoever does the work.

    Args:
        image: what every die is written with.
        batches: labelled samples.
        seeds: of the dies, and of the noise of reading them.
        reading: how they are read.
        pool: who does the work; this process if None.
        progress: told of the dies.

    Returns:
        One trial a seed, in the order of the seeds.

    Raises:
        DataError: labels beyond the classes, or inputs that do not fit.
        UsageError: as :func:`~pimc.studies.evaluate.accuracy` does.
        WorkerError: workers die again and again.
    """
    pool = pool or Here()
    shared = pool.share(shareable(image)), pool.share(batches)
    tasks = ((number, (*shared, reading, seed)) for number, seed in enumerate(seeds))
    trials = dict(progress(completed(pool, measure_die, tasks), "dies", len(seeds)))
    return [trials[number] for number in range(len(seeds))]


def measure_session(session: Session, batches: Batches, progress: Progress = silent) -> Trial:
    """Measure the die or chip of a session; what is raised is what ``accuracy`` raises."""
    start, name = time.perf_counter(), session.device.name
    units = measure(session, batches, progress, description=name)
    seconds, value = time.perf_counter() - start, figure(batches, units)
    return Trial(name, value, seconds, saturation_of(session.device), units)


def measure_die(image: Image, batches: Batches, reading: Reading, seed: int) -> Trial:
    """Measure one die; the task of a worker.

    The session that this process measured last is kept: where image and reading are the same,
    only the die is changed.
    """
    key = image.sha256, reading
    last = _last.pop(key, None)
    session = reading.next_session(last, seed) if last else reading.session(image, seed)
    _last.clear()
    _last[key] = session
    return measure_session(session, batches)


#: The last session of this process, by the hash of its image and how its die is read.
_last: dict[tuple[str, Reading], Session] = {}


def shareable(image: Image) -> Image:
    """The image without what was worked out from it, which a worker does by itself."""
    return Image(image.manifest, image.tensors, identity=image.identity)
