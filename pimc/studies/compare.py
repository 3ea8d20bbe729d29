"""Strategies of recovery side by side: the same dies, the same data, every strategy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.harden import HardenedCache
from pimc.passes.recover.write.residual import residual_weights
from pimc.progress import Progress, silent
from pimc.runtime.door.abilities import observer, reads_of
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, right
from pimc.studies.intervals import Difference, Right
from pimc.studies.montecarlo import shareable
from pimc.work.pool import Here, Pool, completed

__all__ = ["Outcome", "compare", "gained"]


@dataclass(frozen=True)
class Outcome:
    """What a strategy made of a die.

    Attributes:
        seed: of the die.
        right_before, right_after: which labelled samples the die gets right; None without.
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
    right_before: Right | None = field(repr=False, compare=False)
    right_after: Right | None = field(repr=False, compare=False)
    loss: float
    agreement: float | None
    errors_before: Mapping[str, float]
    errors_after: Mapping[str, float]
    cells_rewritten: int
    residual_weights: int
    reads: int | None
    seconds: float

    @property
    def accuracy_before(self) -> float | None:
        """On the labelled data, as programmed; None without."""
        return None if self.right_before is None else float(self.right_before.mean())

    @property
    def accuracy_after(self) -> float | None:
        """The same after the strategy."""
        return None if self.right_after is None else float(self.right_after.mean())

    def to_dict(self) -> dict[str, Any]:
        """All but single samples, in plain types."""
        table = {item.name: getattr(self, item.name) for item in fields(self)}
        before, after = self.accuracy_before, self.accuracy_after
        del table["right_before"], table["right_after"]
        head = {"strategy": self.strategy, "seed": self.seed}
        return head | {"accuracy_before": before, "accuracy_after": after} | table


def gained(outcomes: Sequence[Outcome]) -> Difference | None:
    """What a strategy won over its dies as they were programmed; None without labelled data."""
    pairs = [
        (one.right_after, one.right_before)
        for one in outcomes
        if one.right_after is not None and one.right_before is not None
    ]
    return Difference.between(*zip(*pairs, strict=True)) if pairs else None


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

    Returns:
        One outcome a strategy and die, strategy by strategy in the order given.

    Raises:
        UsageError: no such strategy.
        WorkerError: workers die again and again.
        PimcError: what :func:`~pimc.passes.recover.loop.recover` raises.
    """
    pool = pool or Here()
    # Each worker fills a cache of its own: dies of one image share what does not depend on them.
    given = shareable(image), calib, labelled, HardenedCache()
    shared = [pool.share(value) for value in given]
    work = [(name, seed) for name in strategies for seed in seeds]
    tasks = ((key, (*shared, *key, options, driver)) for key in work)
    done = dict(progress(completed(pool, follow, tasks), "recoveries", len(work)))
    return [done[key] for key in work]


def follow(
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    hardened: HardenedCache,
    strategy: str,
    seed: int,
    options: RecoverOptions,
    driver: str,
) -> Outcome:
    """One strategy on one die; the task of a worker.

    Args:
        hardened: what the tasks of this worker share.
    """
    device = open_device(driver, image, seed=seed)
    program(image, device)
    before = _measured(image, device, labelled, seed)
    reads_before, start = reads_of(device), time.perf_counter()
    # What layers cost is the same for all, and no part of a comparison.
    options = replace(options, cost_images=0)
    recovery = recover(image, device, calib, options, strategy=strategy, hardened=hardened)
    seconds, reads_after = time.perf_counter() - start, reads_of(device)
    (kept,) = (stage for stage in recovery.stages if stage.kept)
    return Outcome(
        strategy,
        seed,
        before,
        _measured(recovery.image, device, labelled, seed),
        kept.loss,
        kept.agreement,
        recovery.stages[0].layer_errors,
        kept.layer_errors,
        recovery.cells_rewritten,
        residual_weights(recovery.image),
        None if reads_after is None or reads_before is None else reads_after - reads_before,
        seconds,
    )


def _measured(image: Image, device: Device, labelled: Batches | None, seed: int) -> Right | None:
    """What is right; looking at the labelled data must not change what the recovery reads."""
    if labelled is None:
        return None
    return right(Session(image, die=observer(device, seed)), labelled)
