"""Strategies of recovery side by side: the same dies, the same data, every strategy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.write.residual import residual_weights
from pimc.progress import Progress, silent
from pimc.runtime.door.abilities import observer, reads_of
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, figure, measure
from pimc.studies.intervals import Difference
from pimc.studies.montecarlo import shareable
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Array, Task
from pimc.work.memory import Memory
from pimc.work.pool import Here, Pool, completed

__all__ = ["Outcome", "compare", "gained"]


@dataclass(frozen=True)
class Outcome:
    """What a strategy made of a die.

    Attributes:
        seed: of the die.
        accuracy_before, accuracy_after: the task's figure on the labelled data, as programmed and
            after the strategy; None without.
        units_before, units_after: what they are made of.
        loss, agreement: of the result on held-out calibration data; agreement is None for
            values.
        errors_before, errors_after: of every layer's outputs, see
            :class:`~pimc.passes.recover.recovery.Stage`.
        cells_rewritten: writes done; a cell written twice counts twice.
        residual_weights: weights that the digital side adds.
        reads: array reads that the strategy took; None where the device does not count them.
        seconds: time the strategy took, measuring on labelled data left out.
    """

    strategy: str
    seed: int
    accuracy_before: float | None
    accuracy_after: float | None
    units_before: Array | None = field(repr=False, compare=False)
    units_after: Array | None = field(repr=False, compare=False)
    loss: float
    agreement: float | None
    errors_before: Mapping[str, float]
    errors_after: Mapping[str, float]
    cells_rewritten: int
    residual_weights: int
    reads: int | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All but single samples, in plain types."""
        table = {item.name: getattr(self, item.name) for item in fields(self)}
        del table["units_before"], table["units_after"]
        return table


def gained(outcomes: Sequence[Outcome], task: Task = CLASSIFICATION) -> Difference | None:
    """What a strategy won over its dies as they were programmed; None without labelled data.

    Of a figure that is better the lower it is, what it fell by.
    """
    pairs = [
        (one.units_after, one.units_before)
        for one in outcomes
        if one.units_after is not None and one.units_before is not None
    ]
    if not pairs:
        return None
    after, before = zip(*pairs, strict=True)
    return Difference.of(task, *((after, before) if task.metric.higher_is_better
                                 else (before, after)))  # fmt: skip


def compare(
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    strategies: Sequence[str],
    seeds: Sequence[int],
    options: RecoverOptions,
    *,
    driver: str = "sim",
    pool: Pool | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """Recover simulated dies by every strategy, each from the freshly programmed die on.

    The strategies of a die share its seed and that of their choices, so that they meet the same
    cells, the same read noise and the same split of the calibration data.

    Args:
        labelled: measured before and after, and never used for any choice.
        seeds: of the dies.
        driver: whose dies they are; one with the ability
            :class:`~pimc.runtime.door.abilities.Simulator`.
        pool: who does the work; this process if None.
        memory: bytes that the workers of this machine may hold together, on a cluster each of
            them; None for half of what the machine has.

    Returns:
        One outcome a strategy and die, strategy by strategy in the order given.

    Raises:
        UsageError: no such strategy.
        WorkerError: workers die again and again.
        PimcError: what :func:`~pimc.passes.recover.loop.recover` raises.
    """
    pool = pool or Here()
    labelled = labelled and labelled.against(image, progress)
    # Each worker fills a cache of its own: dies of one image share what does not depend on them.
    given = shareable(image), calib, labelled, Common()
    shared = [pool.share(value) for value in given]
    work = [(name, seed) for name in strategies for seed in seeds]
    workers = min(pool.workers, len(work))
    tasks = ((key, (*shared, *key, options, driver, memory, workers)) for key in work)
    done = dict(progress(completed(pool, follow, tasks), "recoveries", len(work)))
    return [done[key] for key in work]


def follow(
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    common: Common,
    strategy: str,
    seed: int,
    options: RecoverOptions,
    driver: str,
    memory: int | None = None,
    workers: int = 1,
) -> Outcome:
    """One strategy on one die; the task of a worker.

    Args:
        common: what the tasks of this worker share.
        memory: as of :func:`compare`.
        workers: how many share it.
    """
    device = open_device(driver, image, seed=seed)
    program(image, device)
    before = _measured(image, device, labelled, seed)
    reads_before, start = reads_of(device), time.perf_counter()
    # What layers cost is the same for all, and no part of a comparison.
    options = replace(options, cost_images=0)
    budget = Memory.of(memory, workers)
    recovery = recover(
        image, device, calib, options, strategy=strategy, common=common, memory=budget
    )
    seconds, reads_after = time.perf_counter() - start, reads_of(device)
    (kept,) = (stage for stage in recovery.stages if stage.kept)
    after = _measured(recovery.image, device, labelled, seed)
    return Outcome(
        strategy,
        seed,
        _figure(labelled, before),
        _figure(labelled, after),
        before,
        after,
        kept.loss,
        kept.agreement,
        recovery.stages[0].layer_errors,
        kept.layer_errors,
        recovery.cells_rewritten,
        residual_weights(recovery.image),
        None if reads_after is None or reads_before is None else reads_after - reads_before,
        seconds,
    )


def _measured(image: Image, device: Device, labelled: Batches | None, seed: int) -> Array | None:
    """Units; looking at the labelled data must not change what the recovery reads."""
    if labelled is None:
        return None
    return measure(Session(image, die=observer(device, seed)), labelled)


def _figure(labelled: Batches | None, units: Array | None) -> float | None:
    return None if labelled is None or units is None else figure(labelled, units)
