"""Many dies of one image, recovered by whoever does the work, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pimc.errors import DeviceError, PimcError, RecoveryError, UsageError
from pimc.files.writing.alone import alone
from pimc.files.writing.atomic import replacing, sha256_file
from pimc.files.writing.journal import whole_lines
from pimc.image.image import Image
from pimc.passes.recover.bench.checkpoint import Checkpoint, discard
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.write.residual import residual_weights
from pimc.progress import Progress, silent
from pimc.runtime.door.drivers import open_device, require_programmed, simulates
from pimc.studies.montecarlo import shareable
from pimc.studies.recoveries.columns import read_rows, require_same, write_rows
from pimc.studies.recoveries.one_die import DieJob, Failed, Given, Recovered, recover_one
from pimc.studies.recoveries.wafer import Wafer
from pimc.studies.tables.row_file import Row, journal_of, recording
from pimc.work.pool import Here, Pool, completed

__all__ = ["Many", "recover_many"]

#: What is done with a die that was recovered, before its row is noted: its files are written.
Keep = Callable[[DieJob, Recovered], None]
#: Told of a die that could not be recovered.
Tell = Callable[[DieJob, PimcError], None]


@dataclass(frozen=True)
class Many:
    """What came of many dies.

    Attributes:
        rows: one a die, in the order in which they were named.
        recovered: how many were recovered now; the others were before.
    """

    rows: list[Row]
    recovered: int

    @property
    def exit_code(self) -> int:
        """0 where all dies were recovered, else the gravest of what went wrong."""
        return max((int(row["exit_code"]) for row in self.rows), default=0)


def recover_many(
    wafer: Wafer,
    table: Path,
    keep: Keep,
    *,
    resume: bool = False,
    tell: Tell = lambda job, error: None,
    pool: Callable[[], Pool] = Here,
    progress: Progress = silent,
) -> Many:
    """Recover dies, and write a row for each; the same whoever does the work.

    A die that cannot be recovered gets a row that says why, and the others go on. Every row is
    noted beside the table when the die's files are written, so that nothing is done twice.

    Args:
        table: a ``.csv`` or ``.parquet`` file.
        keep: writes the files of a die, its next image at ``job.output`` among them.
        resume: dies whose row and files are there are left, those that were cut are gone on with.
        tell: told of dies that fail, as they do.
        pool: opens the place where the work is done.
        progress: told of the dies.

    Raises:
        UsageError: the table is none of recoveries or cannot be written, is of another image, of
            other options or data, holds a run that was cut and is not resumed, or another process
            is at work on it; a chip that there is cannot be recovered on a cluster.
        WorkerError: workers die again and again.
    """
    with alone(table, UsageError):
        stored = _stored(wafer, table, resume=resume)
        known = {row["source"]: row for row in stored}
        standing = {job.source for job in wafer.jobs if _stands(wafer, job, known)}
        for job in wafer.jobs:
            if job.source in standing:
                discard(job.checkpoint)  # cut after its row was noted
        todo = [job for job in wafer.jobs if job.source not in standing]
        rows = {source: _placed(wafer, known[source]) for source in standing}
        if todo:
            with recording(table) as note, pool() as workers:
                for job, row in _Run(wafer, workers, keep, tell, note).rows(
                    todo, progress, resume=resume
                ):
                    rows[job.source] = row
        others = [row for source, row in known.items() if source not in rows]
        ordered = [rows[job.source] for job in wafer.jobs]
        write_rows(table, [*others, *ordered], wafer.task)
    return Many(ordered, sum(not rows[job.source]["error"] for job in todo))


def _stored(wafer: Wafer, table: Path, *, resume: bool) -> list[Row]:
    """Rows of dies that were recovered before."""
    rows, journal = read_rows(table), journal_of(table)
    if resume:
        require_same(table, rows, wafer.shared)
        return rows
    if journal.exists() and whole_lines(journal):
        raise UsageError(
            "a run that was cut has recovered dies already",
            where=str(journal),
            hint="add --resume to go on with it, or remove this file to begin anew",
        )
    # Dies that are drawn come out the same once more; others hold their next image by now.
    named = {job.source for job in wafer.jobs if job.die is not None}
    lasting = [r for r in rows if not r["error"] and r["source"] in {*named, r["die_file"]}]
    done = sum(row["source"] in named for row in lasting)
    if lasting:
        raise UsageError(
            f"holds {done} of these dies, recovered"
            if done
            else f"holds {len(lasting)} recovered dies of --die that are not named now",
            where=str(table),
            hint="add --resume to leave them as they are, or choose another --table",
        )
    return []


def _placed(wafer: Wafer, row: Row) -> Row:
    """The row with the place of the die as it is known now."""
    x, y = wafer.places.get(row["source"], (row["x"], row["y"]))
    return {**row, "x": x, "y": y}


def _stands(wafer: Wafer, job: DieJob, rows: Mapping[str, Row]) -> bool:
    """Whether a die was recovered and its files still are what came of it."""
    row = rows.get(job.source)
    if row is None or row["error"] or row["seed"] != job.seed:
        return False
    driver = wafer.given.driver
    try:
        image = Image.load(job.output)
        if image.sha256 != row["image_sha256"]:
            return False
        if job.die_file is not None and simulates(driver):
            if not job.die_file.exists():
                return False
            require_programmed(image, open_device(driver, image, die=job.die_file, seed=job.seed))
    except PimcError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class _Run:
    """Dies on their way."""

    wafer: Wafer
    pool: Pool
    keep: Keep
    tell: Tell
    note: Callable[[Row], None]

    def rows(
        self, todo: Sequence[DieJob], progress: Progress, *, resume: bool
    ) -> Iterator[tuple[DieJob, Row]]:
        """The dies as they are done, with their rows."""
        given = replace(
            self.wafer.given,
            local=self.pool.local,
            workers=min(self.pool.workers, len(todo)),
        )
        if not given.local and not simulates(given.driver):
            raise UsageError(
                "a cluster recovers simulated dies only: a worker that is lost would leave a chip"
                " half written",
                where=f"--device {given.driver}",
                hint="use --jobs, for benches that this machine reaches",
            )
        shared = [self.pool.share(v) for v in (shareable(self.wafer.image), given, Common())]
        tasks = (
            (job, (*shared, job, _content(job, given), _stale(job, resume=resume))) for job in todo
        )
        cut = {job.source for job in todo if resume and job.checkpoint.exists()}
        results = completed(self.pool, recover_one, tasks)
        for job, done in progress(results, "dies", len(todo)):
            if isinstance(done, Failed):
                yield job, self._failed(job, done, went_on=job.source in cut)
            else:
                yield job, self._done(job, done)

    def _done(self, job: DieJob, done: Recovered) -> Row:
        self.keep(job, done)
        row = _row(self.wafer, job, done)
        self.note(row)
        # Without a checkpoint only a die that is still as it was can be recovered once more, so
        # its file changes last.
        if done.state is not None and job.die_file is not None:
            with replacing(job.die_file) as stream:
                stream.write(done.state)
        discard(job.checkpoint)
        return row

    def _failed(self, job: DieJob, failed: Failed, *, went_on: bool) -> Row:
        """Its row; a checkpoint that it went on from stays for another run."""
        error = failed.error
        self.tell(job, error)
        lasting = went_on or isinstance(error, DeviceError | RecoveryError)
        if not lasting and not self._wrote(job):
            discard(job.checkpoint)
        return {
            **self.wafer.unrecovered(job),
            "die": failed.die,
            "error": str(error),
            "exit_code": error.exit_code,
        }

    def _wrote(self, job: DieJob) -> bool:
        """Whether cells may have been written, so that the checkpoint alone knows of them."""
        given = self.wafer.given
        try:
            return Checkpoint(job.checkpoint, self.wafer.image, given.strategy).wrote
        except RecoveryError:
            return True


def _content(job: DieJob, given: Given) -> bytes | None:
    """The die's file, where workers do not see it; what cannot be read the task complains of."""
    if given.local or job.die is None or not job.die.is_file():
        return None
    return job.die.read_bytes()


def _stale(job: DieJob, *, resume: bool) -> str:
    """Hash of a checkpoint that does not count."""
    return sha256_file(job.checkpoint) if not resume and job.checkpoint.exists() else ""


def _row(wafer: Wafer, job: DieJob, done: Recovered) -> Row:
    """The row of a die that was recovered."""
    recovery, key = done.recovery, wafer.task.metric.key
    first = recovery.stages[0]
    kept = next((stage for stage in recovery.stages if stage.kept), recovery.stages[-1])
    note = recovery.image.recovery
    assert note is not None  # that is what a recovery leaves
    return {
        **wafer.unrecovered(job),
        "die": done.die,
        f"{key}_before": done.before,
        f"{key}_after": done.after,
        "loss_before": first.loss,
        "loss_after": kept.loss,
        "agreement_before": first.agreement,
        "agreement_after": kept.agreement,
        "gained": recovery.verdict.gained,
        "cells_rewritten": recovery.cells_rewritten,
        "residual_weights": residual_weights(recovery.image),
        "rounds": note.rounds,
        "output": str(job.output),
        "die_file": "" if job.die_file is None else str(job.die_file),
        "held_out": recovery.basis.held_out,
        "image_sha256": recovery.image.sha256,
    }
