"""``pimc.recover_dies``: many dies of one image, recovered by whoever does the work."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pimc.errors import PimcError, UsageError
from pimc.files.writing.alone import require_each_once
from pimc.functions.evaluate import AnyTask, batches_of, seeds_of
from pimc.functions.given import AnyData, data_of, image_of
from pimc.image.image import Image
from pimc.passes.recover.bench.known import require_teacher
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.samples import require_samples
from pimc.passes.recover.strategies import DEFAULT, strategy_named
from pimc.progress import Progress, silent
from pimc.runtime.door.drivers import require_simulator, simulates
from pimc.runtime.sequences import unrolled
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, accuracy, float_session
from pimc.studies.recoveries.many import recover_many
from pimc.studies.recoveries.one_die import DieJob, Given, Recovered
from pimc.studies.recoveries.summary import Target, summary_of
from pimc.studies.recoveries.wafer import Wafer, labelled_fingerprint
from pimc.studies.tables.row_file import Row
from pimc.tasks.metric import Metric
from pimc.work.memory import bytes_of
from pimc.work.pool import Here, Pool

__all__ = ["RecoveredDies", "die_jobs", "recover_dies"]

#: What the name of a die file may be of to be part of other files' names.
_PLAIN = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class RecoveredDies:
    """What came of several dies.

    Attributes:
        rows: one a die, in the order in which they were named (docs/commands.md lists the columns).
        jobs: the dies, and their files.
        recovered: how many were recovered now; the others were before.
        exit_code: 0 where all dies were recovered; 2 or 3 where one could not be.
        metric: the figure of the labelled data.
        float_metric, perfect_metric: that of the float network and of perfect cells.
    """

    rows: list[Row]
    jobs: Sequence[DieJob]
    recovered: int
    exit_code: int
    metric: Metric
    float_metric: float | None
    perfect_metric: float | None

    @property
    def failed(self) -> dict[str, str]:
        """Why dies could not be recovered, by what names them."""
        return {row["source"]: row["error"] for row in self.rows if row["error"]}

    def summary(self, target: Target | None = None) -> dict[str, Any]:
        """Means, intervals, and the share of dies that reach a target, before and after.

        Raises:
            UsageError: there is a target, and no labelled data were given.
        """
        limit = (target or Target()).limit(self.metric, self.float_metric)
        return summary_of(self.rows, self.metric, limit)


def recover_dies(
    image: Image | str | Path,
    calib: AnyData,
    data: AnyData | Batches | None = None,
    *,
    dies: int | Sequence[int] | Sequence[str | Path] = 1,
    seed: int = 0,
    device: str = "sim",
    strategy: str = DEFAULT,
    options: RecoverOptions | None = None,
    task: AnyTask = None,
    output: str | Path | None = None,
    table: str | Path | None = None,
    places: Mapping[str, tuple[float, float]] | None = None,
    resume: bool = False,
    keep: Callable[[DieJob, Recovered], None] | None = None,
    tell: Callable[[DieJob, PimcError], None] = lambda job, error: None,
    pool: Callable[[], Pool] = Here,
    memory: int | str | None = None,
    progress: Progress = silent,
) -> RecoveredDies:
    """Recover several dies of an image by one strategy, each by a worker, and tell of all.

    What depends on no die is worked out once a worker. A die that cannot be recovered gets a row
    that says why, and the others go on.

    Args:
        image: what every die holds, or its file.
        calib: calibration inputs.
        data: labelled samples, measured before and after, and never used for any choice.
        dies: how many are drawn from ``seed`` on, or their seeds; or files of dies, or what the
            driver makes of such a text: these hold the image, and are saved where they lie.
        seed: of the first die, and of reads.
        device: name of the driver.
        strategy: the recipe.
        options: what a recovery may do; the defaults if None.
        task: of ``data``, as of :func:`pimc.evaluate`.
        output: where next images go: ``out/model.r1.pimc`` makes ``out/model.r1.die7.pimc``, and
            beside it the die. Nothing is kept if None, save files of dies and ``table``.
        table: a ``.csv`` or ``.parquet`` file; by default ``out/model.r1.dies.csv``.
        places: x and y of dies on the wafer, by what names them in ``dies``.
        resume: dies that stand in the table are left, those that were cut are gone on with.
        keep: is given every die that was recovered, with all that its recovery tells; it writes
            the files of the die. By default the next image is saved.
        tell: told of dies that fail, as they do.
        pool: opens the place where the work is done.
        memory: bytes that the workers of this machine may hold together, on a cluster each of
            them, or a size such as ``4G``; half of what the machine has if None.
        progress: told of the dies.

    Raises:
        UsageError: no such strategy, dies or size; a table of something else, or of a run that was
            cut.
        ImageError, DataError: image or data that no die could be recovered with.
        WorkerError: workers die again and again.
    """
    loaded, options = image_of(image), options or RecoverOptions()
    strategy_named(strategy)
    require_teacher(loaded)
    labelled = None if data is None else batches_of(data, loaded, task, progress)
    known = unrolled(data_of(calib, loaded), loaded, progress)
    require_samples(known)
    in_float = perfect = None
    if labelled is not None:
        float_network = float_session(loaded)
        in_float = accuracy(float_network, labelled, progress=progress, description="float")
        perfect = accuracy(
            Session(loaded), labelled, progress=progress, description="perfect cells"
        )
    given = Given(
        known,
        labelled,
        "" if labelled is None else labelled_fingerprint(labelled.data, labelled.task),
        options,
        strategy,
        device,
        seed,
        None if memory is None else bytes_of(memory),
    )
    keeping = TemporaryDirectory(ignore_cleanup_errors=True) if output is None else nullcontext()
    with keeping as folder:
        first = Path(folder or "") / "next.pimc" if output is None else Path(output)
        jobs = die_jobs(dies, first, seed, device, keep_drawn=output is not None)
        wafer = Wafer(loaded, given, jobs, places or {}, in_float, perfect)
        done = recover_many(
            wafer,
            first.with_suffix(".dies.csv") if table is None else Path(table),
            keep or _keep,
            resume=resume,
            tell=tell,
            pool=pool,
            progress=progress,
        )
    metric = wafer.task.metric
    return RecoveredDies(done.rows, jobs, done.recovered, done.exit_code, metric, in_float, perfect)


def die_jobs(
    dies: int | Sequence[int] | Sequence[str | Path],
    output: Path,
    seed: int,
    driver: str,
    *,
    keep_drawn: bool = True,
) -> list[DieJob]:
    """The dies that are named or drawn, and where their files go.

    Args:
        output: of a single next image; those of several have the seed or the name of their die
            in their name, or its number where names would not do.
        keep_drawn: save dies that are drawn beside their next image.

    Raises:
        UsageError: dies are named twice, named beside seeds, or drawn where a driver opens chips
            that there are.
    """
    several = [] if isinstance(dies, int) else list(dies)
    named = [one for one in several if isinstance(one, str | Path)]
    seeds = [one for one in several if not isinstance(one, str | Path)]
    if named and seeds:
        raise UsageError(
            f"names {named[0]} and the seed {seeds[0]}",
            where="dies",
            hint="give files, or seeds of dies that are drawn",
        )
    if not named:
        require_simulator(driver, "--dies")
        return [
            DieJob(str(one), one, None, path, path.with_suffix(".die") if keep_drawn else None)
            for one in seeds_of(dies if isinstance(dies, int) else seeds, seed)
            for path in [_beside(output, f"die{one}")]
        ]
    files = [Path(one) for one in named]
    require_each_once(files)
    stems = [path.stem for path in files]
    plain = len(set(stems)) == len(stems) and all(map(_PLAIN.fullmatch, stems))
    saved = simulates(driver)
    labels = stems if plain and saved else [f"die{number}" for number in range(len(files))]
    return [
        DieJob(str(given), seed, path, _beside(output, label), path)
        for given, path, label in zip(named, files, labels, strict=True)
    ]


def _beside(output: Path, label: str) -> Path:
    return output.with_name(f"{output.stem}.{label}.pimc")


def _keep(job: DieJob, done: Recovered) -> None:
    done.recovery.image.save(job.output)
