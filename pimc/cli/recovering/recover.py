"""``pimc recover``: Make a programmed die accurate again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.command import Report, Settings, command, note, warned
from pimc.cli.options.task import task_of
from pimc.cli.recovering.arguments import RecoverArguments, SteeringOptions
from pimc.cli.recovering.comparison import compared
from pimc.cli.recovering.dies import inputs_for
from pimc.cli.recovering.figures import floor_text
from pimc.cli.recovering.jobs import enough_since, found_in, job_of, next_name
from pimc.cli.recovering.named import checked
from pimc.cli.recovering.results import report_of, result_of, write_files
from pimc.cli.recovering.together import recovered_together, target_of
from pimc.cli.text import table, told_of_states

if TYPE_CHECKING:
    from pimc.cli.recovering.jobs import Found
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

    Several dies (--dies, or --die again) are shared out among --jobs or a --cluster; each has a
    row in a table, and one that fails does not end the others.
    """
    if arguments.list_strategies:
        return _strategies()
    from pimc.cli.lookup import find_image
    from pimc.errors import DeviceError, UsageError
    from pimc.files.writing.alone import alone
    from pimc.files.writing.atomic import require_folder
    from pimc.image.image import Image
    from pimc.passes.recover.samples import require_samples
    from pimc.runtime.door.drivers import require_die

    arguments = checked(arguments)
    if arguments.calib is None:
        raise UsageError("--calib is missing", hint="name calibration data")
    for file in filter(None, (arguments.output, arguments.picture, arguments.together.table)):
        require_folder(file)
    task = task_of(arguments.task)
    target_of(arguments, task, labelled=arguments.data is not None)
    path = find_image(arguments.image)
    image = Image.load(path)
    inputs = inputs_for(image)
    calib = arguments.preprocess.load(arguments.calib, inputs, states=image.states)
    loaded, labelled = None, None
    if arguments.data is not None:
        loaded = arguments.preprocess.load(arguments.data, inputs, "test", image.states)
    if not calib.is_sequential:  # of steps there are more than samples
        require_samples(calib)
    if not (arguments.several or arguments.compare):  # of several dies each ends for itself
        require_die(arguments.device, arguments.die)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.runtime.sequences import unrolled
    from pimc.studies.evaluate import Batches
    from pimc.studies.input_warnings import chance_warning

    calib = unrolled(calib, image, settings.progress)
    if loaded is not None:
        labelled = Batches(loaded, task=task).against(image, settings.progress)
    warnings = warned(_warnings(image, calib, labelled))
    note(f"memory: {_memory_text(arguments)}", settings)
    act, options = compared if arguments.compare else _recovered, _options(settings, arguments)
    with alone(_written_die(arguments), DeviceError), alone(arguments.output, UsageError):
        done = act(settings, path, image, calib, labelled, options, arguments)
    if labelled is not None and task.metric.key == "accuracy":
        chance = chance_warning(image, labelled.data, done.data["float_accuracy"])
        warnings += warned([chance] if chance else [])
    return replace(done, data={**done.data, **told_of_states(calib), "warnings": warnings})


COMMAND = command(
    "recover",
    RecoverArguments,
    recover,
    example="pimc recover model.pimc --calib data --data data --die chip7.die",
    needs=("torch",),
)


def _memory_text(arguments: RecoverArguments) -> str:
    """What a recovery may hold."""
    from pimc.work.memory import Memory

    whole = f"{Memory.of(arguments.memory)} at most"
    if arguments.workers.cluster is not None:
        return whole if arguments.memory else "half of what the machine of a worker has"
    usual = "" if arguments.memory else ", half of what there is"
    return whole + usual + (", shared by the workers" if arguments.workers.jobs > 1 else "")


def _warnings(image: Image, calib: Dataset, labelled: Batches | None) -> list[str]:
    """Warnings of both data; those that are the same said once."""
    from pimc.studies.input_warnings import data_warnings

    data = [calib] if labelled is None else [calib, labelled.data]
    found = [f"{one.name}: {text}" for one in data for text in data_warnings(image, one)]
    return list(dict.fromkeys(found))


def _written_die(arguments: RecoverArguments) -> Path | None:
    """The die file that is written to; None where a driver makes something else of ``--die``."""
    from pimc.runtime.door.drivers import simulates

    return arguments.die if simulates(arguments.device) else None


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
    """Recover a die, or several, by one strategy."""
    strategy = _only(arguments.strategy)
    if arguments.since is not None:
        options = replace(options, enough=enough_since(arguments.since, image))
    found = found_in(image, calib, arguments)
    for told in found.notes:
        note(f"note: {told}", settings)
    if arguments.several:
        output = arguments.output or next_name(path)
        return recovered_together(
            settings, output, image, calib, labelled, options, strategy, arguments, found.notes
        )
    return _alone(settings, path, image, calib, labelled, options, strategy, arguments, found)


def _alone(
    settings: Settings,
    path: Path,
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    options: RecoverOptions,
    strategy: str,
    arguments: RecoverArguments,
    found: Found,
) -> Report:
    """Recover one die."""
    from pimc.passes.recover.bench.checkpoint import SUFFIX, Checkpoint
    from pimc.passes.recover.loop import recover as recover_die
    from pimc.runtime.door.abilities import flush, observer
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import accuracy, float_session
    from pimc.studies.recoveries.begun import figure_told, require_begins, told_of
    from pimc.tasks.classification import CLASSIFICATION

    task = CLASSIFICATION if labelled is None else labelled.task
    mark, progress = _mark(labelled), settings.progress

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
    with _resumable(settings) as (begun, going_on):
        job = job_of(image, path, found, settings.seed, arguments)
        checkpoint = Checkpoint(job.output.with_suffix(SUFFIX), image, strategy)
        goes_on = arguments.resume and checkpoint.path.exists()
        # A recovery that goes on says itself what the chip must hold by now.
        if job.device is not None and not goes_on:
            require_begins(image, job.device, checkpoint)
        (going_on if goes_on else begun).append(checkpoint)
        if goes_on:
            # What was before is gone where the chip stayed as the cut left it.
            checkpoint = checkpoint.as_told()
        else:
            checkpoint.remove()
            checkpoint = replace(checkpoint, told=told_of(mark, measure(image, job.device)))
        before = figure_told(checkpoint, mark)
        recovery = recover_die(
            image,
            job.device,
            calib,
            options,
            strategy=strategy,
            captured=job.captured,
            checkpoint=checkpoint,
            announce=lambda floor: note(floor_text(floor), settings),
            memory=arguments.memory,
            progress=progress,
        )
        after = measure(recovery.image, job.device)
        samples = None if labelled is None else len(labelled.data)
        result = result_of(
            recovery, job.output, job.die_file, (before, after), image, task, samples,
            (in_float, ideal),
        )  # fmt: skip
        write_files(recovery, job.output, result)
        if job.device is not None:
            flush(job.device, job.die_file)
    return report_of([result], in_float, ideal, image, task, found.notes)


def _mark(labelled: Batches | None) -> str:
    """What the labelled data are recognised by, and what they are judged by."""
    if labelled is None:
        return ""
    from pimc.data.rows import sha256_rows
    from pimc.passes.recover.bench.checkpoint import recognised

    targets = [sha256_rows(values) for _, values in sorted(labelled.data.targets.items())]
    named = [] if labelled.task.metric.key == "accuracy" else [labelled.task.name]
    return " ".join([recognised(labelled.data), *targets, *named])


@contextmanager
def _resumable(settings: Settings) -> Iterator[tuple[list[Checkpoint], list[Checkpoint]]]:
    """Keeps the checkpoints of dies that were begun while the command was cut, and no others.

    Where cells may have been written by then the checkpoint stays whatever went wrong: without it
    nobody knows what the chip holds. One that a run goes on from stays, too: what the run could not
    do, another may.
    """
    from pimc.errors import DeviceError, PimcError, RecoveryError

    begun: list[Checkpoint] = []
    going_on: list[Checkpoint] = []
    try:
        yield begun, going_on
    except RecoveryError:
        raise
    except (PimcError, KeyboardInterrupt) as cause:
        if not isinstance(cause, DeviceError | KeyboardInterrupt):
            _remove([checkpoint for checkpoint in begun if not checkpoint.wrote])
        if any(checkpoint.path.exists() for checkpoint in [*begun, *going_on]):
            note("recovery was cut; go on with --resume", settings)
        raise
    _remove([*begun, *going_on])


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
