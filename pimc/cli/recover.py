"""``pimc recover``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pimc.cli.capture import calib_option, calibration, shape_of
from pimc.cli.common import (
    FILE,
    Report,
    Settings,
    command,
    data_options,
    image_argument,
    note,
    worker_options,
)
from pimc.cli.recover_jobs import enough_since, jobs
from pimc.cli.recovered import floor_text, report_of, result_of, write_files
from pimc.cli.text import table

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.passes.recover.bench.checkpoint import Checkpoint
    from pimc.runtime.door.device import Device

__all__ = ["recover"]

#: Options that say what a recovery may do; a strategy names those it looks at.
_STEERING = ("budget", "residual", "rounds", "epochs", "train")


@command("recover")
@image_argument
@calib_option(required=False)
@data_options
@click.option("--data", type=FILE, metavar="DATA", help="Labelled data to report accuracy on.")
@click.option("--die", type=FILE, help="A programmed die; without, one is drawn from --seed.")
@click.option("--dies", type=click.IntRange(1), help="Recover so many dies drawn from --seed on.")
@click.option("--device", default="sim", show_default=True, help="See `pimc devices`.")
@click.option(
    "--budget",
    type=click.FloatRange(0, 100),
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="Writes allowed, per cent of the image's cells.",
)
@click.option(
    "--residual",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Weights that the digital side may add, per cent of all [default: 0, `residual`: 5].",
)
@click.option("--rounds", type=click.IntRange(0), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(0), default=6, show_default=True)
@click.option(
    "--train",
    type=click.Choice(["gain", "bias", "ranges", "levels"]),
    multiple=True,
    help="What is trained; any number of times [default: gain and bias].",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="What the outputs are; judged by their shape if not given.",
)
@click.option(
    "--strategy",
    multiple=True,
    metavar="NAME",
    help="What is done [default: selective]; with --compare any number of times.",
)
@click.option(
    "--list-strategies",
    is_flag=True,
    help="Show the installed strategies, and do nothing else.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="All strategies (or those named) on the same --dies; writes IMAGE.compare.json/.md/.png.",
)
@click.option(
    "--since",
    type=FILE,
    metavar="REPORT",
    help="The die aged since this recovery: gains and offsets first, more only if needed.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted recovery stopped.")
@worker_options
@click.option("-o", "--output", type=FILE, help="Default: IMAGE.r1.pimc, then .r2 and so on.")
def recover(settings: Settings, image: Path | None, **chosen: Any) -> Report:
    """Make a programmed die accurate again; writes the next image.

    Captures what the die computes (unless the calibration folder holds a capture of this image),
    works out what its cells hold, corrects gains and offsets, rewrites the few cells that pay
    most, and distills the digital side from the float network. Beside the next image it writes
    the list of cells that change (.cells.csv) and a report (.report.json). The calibration data
    is all it learns from; --data is only reported on.
    """
    if chosen["list_strategies"]:
        return _strategies()
    from pimc.cli.lookup import find_image
    from pimc.data.dataset import load_data
    from pimc.errors import UsageError
    from pimc.image.image import Image
    from pimc.passes.recover.bench.checkpoint import SUFFIX, Checkpoint
    from pimc.passes.recover.loop import recover as recover_die
    from pimc.passes.recover.options import RecoverOptions
    from pimc.passes.recover.train.distill import DistillOptions
    from pimc.passes.recover.train.harden import HardenedCache
    from pimc.runtime.door.drivers import flush, observer
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import Batches, accuracy, float_session

    if chosen["calib"] is None:
        raise UsageError("--calib is missing", hint="name calibration data")
    path = find_image(image)
    loaded = Image.load(path)
    progress = settings.progress
    calib = calibration(loaded, chosen)
    labelled = None
    if chosen["data"] is not None:
        shape = shape_of(loaded)
        found = load_data(
            chosen["data"], overrides=chosen["preprocess"], input_shape=shape, role="test"
        )
        labelled = Batches(found)
    options = RecoverOptions(
        budget=chosen["budget"] / 100,
        rounds=chosen["rounds"],
        residual=None if chosen["residual"] is None else chosen["residual"] / 100,
        train=chosen["train"] or RecoverOptions.train,
        task=chosen["task"],
        seed=settings.seed,
        distill=DistillOptions(epochs=chosen["epochs"]),
    )

    if chosen["compare"]:
        from pimc.cli.compare import compared

        return compared(settings, path, loaded, calib, labelled, options, chosen)
    if chosen["jobs"] > 1 or chosen["cluster"]:
        raise UsageError("--jobs and --cluster share out comparisons only", hint="add --compare")
    strategy = _only(chosen["strategy"])
    if chosen["since"] is not None:
        options = replace(options, enough=enough_since(chosen["since"], loaded))

    def measure(what: Image, device: Device | None) -> float | None:
        if labelled is None or device is None:
            return None
        # Looking at the labelled data must not change what the recovery reads.
        session = Session(what, observer(device, settings.seed))
        return accuracy(session, labelled, progress=progress, description="accuracy")

    in_float = ideal = None
    if labelled is not None:
        in_float = accuracy(float_session(loaded), labelled, progress=progress, description="float")
        ideal = accuracy(Session(loaded), labelled, progress=progress, description="perfect cells")
    results: list[dict[str, Any]] = []
    hardened = HardenedCache()
    with _resumable(settings) as begun:
        for job in jobs(loaded, path, calib, settings.seed, chosen):
            checkpoint = Checkpoint(job.output.with_suffix(SUFFIX), loaded, strategy)
            begun.append(checkpoint)
            if not chosen["resume"]:
                checkpoint.remove()
            before = measure(loaded, job.device)
            recovery = recover_die(
                loaded,
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
            result = result_of(recovery, job.output, job.die_file, before, after, loaded)
            write_files(recovery, job.output, result)
            if job.device is not None:
                flush(job.device, job.die_file)
            results.append(result)
    return report_of(results, in_float, ideal, loaded)


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
    source = click.get_current_context().get_parameter_source
    given = [option for option in _STEERING if source(option) is ParameterSource.COMMANDLINE]
    unused = [f"--{option}" for option in given if option not in uses]
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
