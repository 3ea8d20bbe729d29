"""``pimc recover``: Make a programmed die accurate again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings, command, note
from pimc.cli.recovering.arguments import RecoverArguments, SteeringOptions
from pimc.cli.recovering.comparison import compared
from pimc.cli.recovering.dies import shape_of
from pimc.cli.recovering.jobs import enough_since, jobs
from pimc.cli.recovering.results import floor_text, report_of, result_of, write_files
from pimc.cli.text import table

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.passes.recover.bench.checkpoint import Checkpoint
    from pimc.passes.recover.options import RecoverOptions
    from pimc.runtime.door.device import Device
    from pimc.studies.evaluate import Batches

__all__ = ["COMMAND", "recover"]


def recover(settings: Settings, arguments: RecoverArguments) -> Report:
    """Make a programmed die accurate again; writes the next image.

    Captures what the die computes (unless the calibration folder holds a capture of this image),
    works out what its cells hold, corrects gains and offsets, rewrites the few cells that pay
    most, and distills the digital side from the float network. Beside the next image it writes
    the list of cells that change (.cells.csv) and a report (.report.json). The calibration data
    is all it learns from; --data is only reported on.
    """
    if arguments.list_strategies:
        return _strategies()
    from pimc.cli.lookup import find_image
    from pimc.errors import UsageError
    from pimc.image.image import Image
    from pimc.studies.evaluate import Batches

    if arguments.calib is None:
        raise UsageError("--calib is missing", hint="name calibration data")
    path = find_image(arguments.image)
    image = Image.load(path)
    shape = shape_of(image)
    calib = arguments.preprocess.load(arguments.calib, shape)
    labelled = None
    if arguments.data is not None:
        labelled = Batches(arguments.preprocess.load(arguments.data, shape, "test"))
    act = compared if arguments.compare else _recovered
    return act(settings, path, image, calib, labelled, _options(settings, arguments), arguments)


COMMAND = command(
    "recover",
    RecoverArguments,
    recover,
    example="pimc recover model.pimc --calib data --data data --die chip7.die",
)


def _options(settings: Settings, arguments: RecoverArguments) -> RecoverOptions:
    from pimc.passes.recover.options import RecoverOptions
    from pimc.passes.recover.train.distill import DistillOptions

    steering = arguments.steering
    return RecoverOptions(
        budget=steering.budget / 100,
        rounds=steering.rounds,
        residual=None if steering.residual is None else steering.residual / 100,
        train=steering.train or RecoverOptions.train,
        task=arguments.task,
        seed=settings.seed,
        distill=DistillOptions(epochs=steering.epochs),
    )


def _recovered(
    settings: Settings,
    path: Path,
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    options: RecoverOptions,
    arguments: RecoverArguments,
) -> Report:
    """Recover one die after the other, by one strategy."""
    from pimc.errors import UsageError
    from pimc.passes.recover.bench.checkpoint import SUFFIX, Checkpoint
    from pimc.passes.recover.loop import recover as recover_die
    from pimc.passes.recover.train.harden import HardenedCache
    from pimc.runtime.door.abilities import Resumable, flush, observer
    from pimc.runtime.door.drivers import require_programmed
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import accuracy, float_session

    if arguments.workers.jobs > 1 or arguments.workers.cluster:
        raise UsageError("--jobs and --cluster share out comparisons only", hint="add --compare")
    strategy = _only(arguments.strategy)
    if arguments.since is not None:
        options = replace(options, enough=enough_since(arguments.since, image))
    progress = settings.progress

    def measure(what: Image, device: Device | None) -> float | None:
        if labelled is None or device is None:
            return None
        # Looking at the labelled data must not change what the recovery reads.
        session = Session(what, die=observer(device, settings.seed))
        return accuracy(session, labelled, progress=progress, description="accuracy")

    in_float = ideal = None
    if labelled is not None:
        in_float = accuracy(float_session(image), labelled, progress=progress, description="float")
        ideal = accuracy(Session(image), labelled, progress=progress, description="perfect cells")
    results: list[dict[str, Any]] = []
    hardened = HardenedCache()
    with _resumable(settings) as begun:
        for job in jobs(image, path, calib, settings.seed, arguments):
            checkpoint = Checkpoint(job.output.with_suffix(SUFFIX), image, strategy)
            goes_on = arguments.resume and checkpoint.path.exists()
            # A recovery that goes on says itself what the chip must hold by now.
            if job.device is not None and not goes_on:
                require_programmed(image, job.device)
            begun.append(checkpoint)
            if not arguments.resume:
                checkpoint.remove()
            # What was before is gone where the chip stayed as the cut left it.
            gone = goes_on and not isinstance(job.device, Resumable)
            before = None if gone else measure(image, job.device)
            recovery = recover_die(
                image,
                job.device,
                calib,
                options,
                strategy=strategy,
                captured=job.captured,
                checkpoint=checkpoint,
                hardened=hardened,
                announce=lambda floor: note(floor_text(floor), settings),
                progress=progress,
            )
            after = measure(recovery.image, job.device)
            result = result_of(recovery, job.output, job.die_file, before, after, image)
            write_files(recovery, job.output, result)
            if job.device is not None:
                flush(job.device, job.die_file)
            results.append(result)
    return report_of(results, in_float, ideal, image)


@contextmanager
def _resumable(settings: Settings) -> Iterator[list[Checkpoint]]:
    """Keeps the checkpoints of dies that were begun while the command was cut, and no others."""
    from pimc.errors import DeviceError, PimcError, RecoveryError

    begun: list[Checkpoint] = []
    try:
        yield begun
    except (DeviceError, KeyboardInterrupt):
        if any(checkpoint.path.exists() for checkpoint in begun):
            note("recovery was cut; go on with --resume", settings)
        raise
    except RecoveryError:
        raise
    except PimcError:
        _remove(begun)
        raise
    _remove(begun)


def _remove(checkpoints: list[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        checkpoint.remove()


def _only(names: tuple[str, ...]) -> str:
    """The one strategy that was named, or the default."""
    from pimc.errors import UsageError
    from pimc.passes.recover.strategies import DEFAULT, strategy_named

    if len(names) > 1:
        raise UsageError("a die is recovered by one strategy", hint="add --compare for several")
    (name,) = names or (DEFAULT,)
    uses = strategy_named(name).uses
    unused = [f"--{option}" for option in SteeringOptions.given() if option not in uses]
    if unused:
        raise UsageError(
            f"{', '.join(unused)} would change nothing",
            where=f"strategy {name}",
            hint="leave it out, or take another strategy",
        )
    return name


def _strategies() -> Report:
    from pimc.passes.recover.strategies import strategies

    found = strategies()
    data = {"strategies": [strategy._asdict() for strategy in found]}
    return Report(data, table(("strategy", "what it does"), found))
