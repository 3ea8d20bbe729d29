"""``pimc recover`` of several dies: shared out, a row each, and what they say together."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings, note
from pimc.cli.log import current
from pimc.cli.options.task import stored, told_of
from pimc.cli.recovering.arguments import RecoverArguments
from pimc.cli.recovering.figures import floor_text
from pimc.cli.recovering.named import places_of
from pimc.cli.recovering.results import result_of, write_files
from pimc.cli.recovering.together_text import text_of

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.errors import PimcError
    from pimc.functions.recover_dies import RecoveredDies
    from pimc.image.image import Image
    from pimc.passes.recover.options import RecoverOptions
    from pimc.studies.evaluate import Batches
    from pimc.studies.recoveries.one_die import DieJob, Recovered
    from pimc.studies.recoveries.summary import Target
    from pimc.studies.tables.row_file import Row
    from pimc.tasks.task import Task

__all__ = ["recovered_together", "target_of"]


def target_of(arguments: RecoverArguments, task: Task, *, labelled: bool) -> Target:
    """How good a die must be.

    Raises:
        UsageError: a target without labelled data, two of them, or a yield without one.
    """
    from pimc.errors import UsageError
    from pimc.studies.recoveries.summary import Target

    asked, metric = arguments.together, task.metric
    if asked.target is not None and asked.max_drop is not None:
        raise UsageError("--target and --max-drop exclude each other", hint="give one of them")
    flag = "--max-drop" if asked.target is None else "--target"
    if asked.target is None and asked.max_drop is None:
        if asked.min_yield is not None:
            raise UsageError(
                "--min-yield needs a target", hint="give --target or --max-drop, and --data"
            )
        return Target()
    if not labelled:
        raise UsageError("a target needs labelled data", where=flag, hint="name some with --data")
    drop = None if asked.max_drop is None else asked.max_drop / metric.scale
    value = stored(metric, asked.target)
    if value is not None and not metric.low <= value <= metric.high:
        lowest, highest = metric.text(metric.low), metric.text(metric.high)
        raise UsageError(
            f"{asked.target:g} is beyond what the {metric.name} can be",
            where=flag,
            hint=f"it lies from {lowest} to {highest}",
        )
    return Target(value, drop)


def recovered_together(
    settings: Settings,
    output: Path,
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    options: RecoverOptions,
    strategy: str,
    arguments: RecoverArguments,
    notes: Sequence[str],
) -> Report:
    """Recover the dies that are named or drawn, by the workers.

    Args:
        output: the next image of a single die; the names of all files begin like it.
        notes: what was left out of what the user gave.
    """
    from pimc.functions.recover_dies import die_jobs, recover_dies
    from pimc.pictures.wafer import pictures_of_dies
    from pimc.studies.recoveries.summary import reached
    from pimc.studies.tables.row_file import require_suffix
    from pimc.tasks.classification import CLASSIFICATION

    start = time.perf_counter()
    asked, driver = arguments.together, arguments.device
    task = CLASSIFICATION if labelled is None else labelled.task
    target = target_of(arguments, task, labelled=labelled is not None)
    rows_file = asked.table or output.with_suffix(".dies.csv")
    require_suffix(rows_file)
    dies: int | tuple[Path, ...] = arguments.named or arguments.dies or 1
    sources = [job.source for job in die_jobs(dies, output, settings.seed, driver)]
    places = {} if asked.map is None else places_of(asked.map, sources, driver)
    floors: list[Any] = []

    def keep(job: DieJob, done: Recovered) -> None:
        if not floors:
            floors.append(done.recovery.floor)
            note(floor_text(done.recovery.floor), settings)
        reached = done.before, done.after
        samples = None if labelled is None else len(labelled.data)
        result = result_of(done.recovery, job.output, job.die_file, reached, image, task, samples)
        write_files(done.recovery, job.output, result)

    with _told_where_cut(rows_file, settings):
        found = recover_dies(
            image,
            calib,
            labelled,
            dies=dies,
            seed=settings.seed,
            device=driver,
            strategy=strategy,
            options=options,
            output=output,
            table=rows_file,
            places=places,
            resume=arguments.resume,
            keep=keep,
            tell=_tell,
            pool=arguments.workers.open,
            memory=arguments.memory,
            progress=settings.progress,
        )
    summary = found.summary(target)
    entries = [_entry(row, task) for row in found.rows]
    picture = arguments.picture or rows_file.with_suffix(".png")
    pictures = []
    for name, draw in pictures_of_dies(
        found.rows,
        task.metric,
        in_float=found.float_metric,
        target=summary["within"] and summary["within"]["target"],
        chip=image.chip.name,
    ):
        path = picture.with_suffix(f"{name}{picture.suffix}")
        draw(path)
        pictures.append(str(path))
    data = {
        **told_of(task),
        f"float_{task.metric.key}": found.float_metric,
        f"quantized_{task.metric.key}": found.perfect_metric,
        **_of_all(found, entries, task),
        "took_seconds": round(time.perf_counter() - start, 3),
        "summary": summary,
        "table": str(rows_file),
        "pictures": pictures,
        "notes": list(notes),
    }
    kept = asked.min_yield is None or reached(summary["within"], asked.min_yield)
    data["ok"] = kept and not found.exit_code
    text = text_of(data, found, entries, asked.min_yield, task.metric)
    return Report(data, text, exit_code=found.exit_code or int(not kept), answer=False)


@contextmanager
def _told_where_cut(rows_file: Path, settings: Settings) -> Iterator[None]:
    """Says how to go on where the run ends before its time, and something was done."""
    from pimc.errors import WorkerError
    from pimc.studies.tables.row_file import journal_of

    try:
        yield
    except (WorkerError, KeyboardInterrupt):
        if journal_of(rows_file).exists():
            note("recovery was cut; go on with --resume", settings)
        raise


def _tell(job: DieJob, error: PimcError) -> None:
    where = "" if error.where in (None, job.source) else f"{error.where}: "
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    text = f"error: die {job.source}: {where}{error.message}{hint}"
    current().tell("error", "die failed", text, die=str(job.source), exit_code=error.exit_code)


def _entry(row: Row, task: Task) -> dict[str, Any]:
    """The entry of a die in the JSON: its report, or what its row tells where there is none."""
    key = task.metric.key
    told = {
        "die": row["die"],
        "source": row["source"],
        "strategy": row["strategy"],
        "sha256": row["image_sha256"] or None,
        "output": row["output"] or None,
        "die_file": row["die_file"] or None,
        f"{key}_before": row[f"{key}_before"],
        f"{key}_after": row[f"{key}_after"],
        "cells_total": row["cells_total"],
        "cells_rewritten": row["cells_rewritten"],
        "residual_weights": row["residual_weights"],
        "rounds": row["rounds"],
        "error": row["error"] or None,
        "exit_code": row["exit_code"],
    }
    if row["error"]:
        return told
    try:
        report = json.loads(Path(row["output"]).with_suffix(".report.json").read_text())
    except (OSError, ValueError):
        return told
    return {**report, **told} if isinstance(report, dict) else told


def _of_all(
    found: RecoveredDies, entries: Sequence[Mapping[str, Any]], task: Task
) -> dict[str, Any]:
    """What is told of the dies as of single ones, an entry a die."""
    key, sound = task.metric.key, [row for row in found.rows if not row["error"]]
    return {
        f"{key}_before": [row[f"{key}_before"] for row in found.rows],
        f"{key}_after": [row[f"{key}_after"] for row in found.rows],
        "cells_total": found.rows[0]["cells_total"],
        "cells_rewritten": max((row["cells_rewritten"] for row in sound), default=0),
        "residual_weights": max((row["residual_weights"] for row in sound), default=0),
        "rounds": max((row["rounds"] for row in sound), default=0),
        "gained": [row["gained"] for row in found.rows],
        "seconds": round(sum(entry.get("seconds", 0.0) for entry in entries), 3),
        "recovered": found.recovered,
        "failed": found.failed,
        "dies": list(entries),
    }
