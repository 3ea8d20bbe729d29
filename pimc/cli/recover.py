"""``pimc recover``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.capture import calib_option, calibration, programmed, shape_of
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
from pimc.cli.recovered import floor_text, report_of, result_of, write_files
from pimc.cli.text import table

if TYPE_CHECKING:
    from pimc.data import Dataset
    from pimc.image import Image
    from pimc.passes.recover.checkpoint import Checkpoint
    from pimc.runtime.capture import Capture
    from pimc.runtime.device import Device

__all__ = ["recover"]


@dataclass(frozen=True)
class _Job:
    """One die to recover, and the files that come of it.

    Attributes:
        die_file: where the die's state goes afterwards; None where there is none to save.
    """

    device: Device | None
    captured: Capture | None
    output: Path
    die_file: Path | None


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
    type=click.Choice(["gain", "bias", "levels"]),
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
    from pimc.data import load_data
    from pimc.errors import UsageError
    from pimc.evaluate import Batches, accuracy, float_session
    from pimc.image import Image
    from pimc.lookup import find_image
    from pimc.passes.recover.checkpoint import SUFFIX, Checkpoint
    from pimc.passes.recover.distill import DistillOptions
    from pimc.passes.recover.loop import recover as recover_die
    from pimc.passes.recover.options import RecoverOptions
    from pimc.runtime.drivers import flush, observer
    from pimc.runtime.session import Session

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
    for job in _jobs(loaded, path, calib, settings.seed, chosen):
        before = measure(loaded, job.device)
        checkpoint = Checkpoint(job.output.with_suffix(SUFFIX), loaded, strategy)
        with _resumable(checkpoint, chosen["resume"], settings):
            recovery = recover_die(
                loaded,
                job.device,
                calib,
                options,
                strategy=strategy,
                captured=job.captured,
                checkpoint=checkpoint,
                announce=lambda floor: note(floor_text(floor), settings),
                progress=progress,
            )
            result = result_of(
                recovery,
                job.output,
                job.die_file,
                before,
                measure(recovery.image, job.device),
                loaded,
            )
            write_files(recovery, job.output, result)
            if job.device is not None:
                flush(job.device, job.die_file)
        results.append(result)
    return report_of(results, in_float, ideal, loaded)


@contextmanager
def _resumable(checkpoint: Checkpoint, resume: bool, settings: Settings) -> Iterator[None]:
    """Keeps the checkpoint of a recovery that was cut, and no other."""
    from pimc.errors import DeviceError, PimcError, RecoveryError

    if not resume:
        checkpoint.remove()
    try:
        yield
    except (DeviceError, KeyboardInterrupt):
        if checkpoint.path.exists():
            note("recovery was cut; go on with --resume", settings)
        raise
    except RecoveryError:
        raise
    except PimcError:
        checkpoint.remove()
        raise
    checkpoint.remove()


def _only(names: tuple[str, ...]) -> str:
    """The one strategy that was named, or the default."""
    from pimc.errors import UsageError
    from pimc.passes.recover.strategies import DEFAULT

    if len(names) > 1:
        raise UsageError("a die is recovered by one strategy", hint="add --compare for several")
    return names[0] if names else DEFAULT


def _strategies() -> Report:
    from pimc.passes.recover.strategies import strategies

    found = strategies()
    data = {"strategies": [strategy._asdict() for strategy in found]}
    return Report(data, table(("strategy", "what it does"), found))


def _jobs(
    image: Image, path: Path, calib: Dataset, seed: int, chosen: dict[str, Any]
) -> Iterator[_Job]:
    from pimc.errors import UsageError

    dies, die, driver = chosen["dies"], chosen["die"], chosen["device"]
    if dies is not None and die is not None:
        raise UsageError("--die and --dies exclude each other", hint="leave one of them out")
    captured = _capture_of(image, calib)
    output = chosen["output"] or _next_name(path)
    if captured is not None and die is None and dies is None and driver == "sim":
        yield _Job(None, captured, output, None)
        return
    if dies is None:
        device = programmed(image, driver, die, seed)
        fitting = captured if captured is not None and captured.die == device.name else None
        yield _Job(device, fitting, output, die or output.with_suffix(".die"))
        return
    for number in range(seed, seed + dies):
        one = output if dies == 1 else output.with_name(f"{output.stem}.die{number}.pimc")
        device = programmed(image, driver, None, number)
        yield _Job(device, None, one, one.with_suffix(".die"))


def _capture_of(image: Image, calib: Dataset) -> Capture | None:
    """The capture of this image in the calibration folder, if there is one."""
    from pimc.errors import CaptureError, UsageError
    from pimc.runtime.capture import Capture

    found = []
    for path in calib.captures:
        try:
            found.append(Capture.load(path, image))
        except CaptureError as error:
            if len(calib.captures) == 1:
                raise
            skipped = error
    if len(found) > 1:
        names = ", ".join(sorted(path.name for path in calib.captures))
        raise UsageError(
            "the calibration folder holds several captures of this image",
            where=names,
            hint="keep the one of the die you recover",
        )
    if calib.captures and not found:
        raise skipped
    return found[0] if found else None


def _next_name(path: Path) -> Path:
    """``model.pimc`` → ``model.r1.pimc`` → ``model.r2.pimc``, in the image's folder."""
    match = re.fullmatch(r"(.*)\.r(\d+)", path.stem)
    stem, number = (match[1], int(match[2])) if match else (path.stem, 0)
    return path.with_name(f"{stem}.r{number + 1}{path.suffix}")
