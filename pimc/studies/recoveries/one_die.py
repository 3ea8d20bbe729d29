"""One of many dies, recovered: the task of a worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pimc.data.dataset import Dataset
from pimc.errors import DeviceError, PimcError
from pimc.files.writing.alone import alone
from pimc.files.writing.atomic import sha256_file
from pimc.image.image import Image
from pimc.passes.recover.bench.checkpoint import SUFFIX, Checkpoint
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.runtime.door.abilities import flush, observer
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import opened, simulates
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, figure, measure
from pimc.studies.montecarlo import shareable
from pimc.studies.recoveries.begun import figure_told, require_begins, told_of
from pimc.work.memory import Memory

__all__ = ["DieJob", "Failed", "Given", "Recovered", "recover_one"]


@dataclass(frozen=True)
class Given:
    """What the recoveries of all dies are given alike.

    Attributes:
        labelled: measured before and after, and never used for any choice.
        labelled_sha256: their fingerprint; empty without.
        strategy: the recipe.
        driver: what opens or draws the dies.
        seed: of the reads that measure; the options have their own.
        memory: bytes that all workers of this machine may hold together, on a cluster each of
            them; None for half of what the machine of a worker has.
        workers: how many of them share it.
        local: workers see the files of the caller: they open and save dies themselves, and note
            the state of a recovery beside its output.
    """

    calib: Dataset = field(repr=False)
    labelled: Batches | None = field(repr=False)
    labelled_sha256: str
    options: RecoverOptions
    strategy: str
    driver: str = "sim"
    seed: int = 0
    memory: int | None = None
    workers: int = 1
    local: bool = True


@dataclass(frozen=True)
class DieJob:
    """A die to recover.

    Attributes:
        source: what names it: its file or address, or of one that is drawn its seed.
        seed: of a die that is drawn, and of the noise of reads.
        die: its file, or what the driver makes of it; None where it is drawn.
        output: where the next image goes; what comes besides has its name.
        die_file: where its state goes; None where there is none to save.
    """

    source: str
    seed: int
    die: Path | None
    output: Path
    die_file: Path | None

    @property
    def checkpoint(self) -> Path:
        """Where the state of its recovery is noted."""
        return self.output.with_suffix(SUFFIX)


@dataclass(frozen=True)
class Recovered:
    """A die that was recovered.

    Attributes:
        die: its name.
        before, after: the task's figure on the labelled data; None where it is not known.
        state: of the die, as its file has it, where the worker could not save it.
    """

    die: str
    recovery: Recovery = field(repr=False)
    before: float | None
    after: float | None
    state: bytes | None = field(repr=False)


class Failed(NamedTuple):
    """A die that could not be recovered.

    Attributes:
        die: its name; empty where it could not be opened.
    """

    die: str
    error: PimcError


def recover_one(
    image: Image,
    given: Given,
    common: Common,
    job: DieJob,
    content: bytes | None,
    stale: str,
) -> Recovered | Failed:
    """Recover one die; what goes wrong with it is no reason for the others to stop.

    Args:
        common: what the dies of this worker share.
        content: of the die's file, where the worker does not see it.
        stale: hash of a checkpoint that was there before and does not count. Any other is of this
            very run, of a worker that died: it is gone on from.
    """
    names: list[str] = []
    try:
        with _files(given, job, content) as (die, die_file):
            device = opened(image, given.driver, die, job.seed)
            names.append(device.name)
            done = _recovered(image, given, common, job, device, stale)
            flush(device, die_file)
            if die_file is not None and not given.local:
                done = replace(done, state=die_file.read_bytes())
            return done
    except PimcError as error:
        return Failed("".join(names), error)


@contextmanager
def _files(
    given: Given, job: DieJob, content: bytes | None
) -> Iterator[tuple[Path | None, Path | None]]:
    """Files of the die to open and to save to; copies where the worker does not see its own."""
    if given.local:
        # A driver may make something else of it.
        with alone(job.die_file if simulates(given.driver) else None, DeviceError):
            yield job.die, job.die_file
        return
    with tempfile.TemporaryDirectory(prefix="pimc-") as folder:
        copy = Path(folder) / (job.die_file or job.output).name
        if content is not None:
            copy.write_bytes(content)
        try:
            yield None if content is None else copy, None if job.die_file is None else copy
        except PimcError as error:
            raise _told_of(error, str(copy), str(job.die)) from error


def _told_of(error: PimcError, copy: str, file: str) -> PimcError:
    """The same error, of the file that was copied."""
    where, hint = (text and text.replace(copy, file) for text in (error.where, error.hint))
    return type(error)(error.message.replace(copy, file), where, hint)


def _recovered(
    image: Image, given: Given, common: Common, job: DieJob, device: Device, stale: str
) -> Recovered:
    checkpoint = Checkpoint(job.checkpoint, image, given.strategy) if given.local else None
    if checkpoint is not None and _goes_on(checkpoint, stale):
        # What was before is gone where the chip stayed as the cut left it.
        checkpoint = checkpoint.as_told()
        before = figure_told(checkpoint, given.labelled_sha256)
    else:
        require_begins(image, device, checkpoint)
        before = _measured(image, device, given)
        if checkpoint is not None:
            checkpoint.remove()
            checkpoint = replace(checkpoint, told=told_of(given.labelled_sha256, before))
    recovery = recover(
        image,
        device,
        given.calib,
        given.options,
        strategy=given.strategy,
        checkpoint=checkpoint,
        common=common,
        memory=Memory.of(given.memory, given.workers),
    )
    after = _measured(recovery.image, device, given)
    recovery = replace(recovery, image=shareable(recovery.image))
    return Recovered(device.name, recovery, before, after, None)


def _goes_on(checkpoint: Checkpoint, stale: str) -> bool:
    return checkpoint.path.exists() and sha256_file(checkpoint.path) != stale


def _measured(image: Image, device: Device, given: Given) -> float | None:
    """The figure of the labelled data; looking at them must not change what the recovery reads."""
    if given.labelled is None:
        return None
    session = Session(image, die=observer(device, given.seed))
    return figure(given.labelled, measure(session, given.labelled))
