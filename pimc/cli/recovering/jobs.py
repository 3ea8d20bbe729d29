"""The dies that ``pimc recover`` is to bring back, and what is known of them beforehand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.recovering.arguments import RecoverArguments
from pimc.files.kinds.reading import read_as

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.runtime.capture import Capture
    from pimc.runtime.door.device import Device

__all__ = ["Found", "Job", "enough_since", "found_in", "job_of", "next_name"]

#: How far a loss may lie above that of an earlier recovery and still count as the same.
_AS_GOOD = 1.1


@dataclass(frozen=True)
class Job:
    """One die to recover, and the files that come of it.

    Attributes:
        die_file: where the die's state goes afterwards; None where there is none to save.
    """

    device: Device | None
    captured: Capture | None
    output: Path
    die_file: Path | None


@dataclass(frozen=True)
class Found:
    """What the calibration folder holds beside the data.

    Attributes:
        capture: the one of the image that is recovered, and its ``path``; None where there is none.
        notes: what was left out, and why.
    """

    capture: Capture | None
    path: Path | None
    notes: tuple[str, ...]


@read_as("report")
def enough_since(path: Path, image: Image) -> float:
    """The held-out loss that is as good as that of an earlier recovery, told by its report.

    Raises:
        UsageError: the file is no report of the recovery that made ``image``.
    """
    from pimc.errors import UsageError

    try:
        report = json.loads(path.read_text())
        made = report["sha256"]
        (loss,) = (float(stage["loss"]) for stage in report["stages"] if stage["kept"])
    except (OSError, ValueError, TypeError, KeyError) as cause:
        raise UsageError(
            f"cannot be read as a recovery's report: {cause}",
            where=str(path),
            hint="name the .report.json that lies beside the image",
        ) from cause
    if made != image.sha256:
        raise UsageError(
            "this report is of another image",
            where=str(path),
            hint="recover the image that it lies beside",
        )
    return _AS_GOOD * loss


def job_of(image: Image, path: Path, found: Found, seed: int, arguments: RecoverArguments) -> Job:
    """The one die that the arguments name; it is written where need be.

    Args:
        found: what :func:`found_in` told of the calibration folder.

    Raises:
        UsageError: arguments that exclude each other.
        CaptureError: the capture is of another die than the one that is named.
    """
    from pimc.errors import UsageError
    from pimc.runtime.door.drivers import opened, require_simulator, simulates

    dies, die, driver = arguments.dies, arguments.die, arguments.device
    if dies is not None:
        require_simulator(driver, "--dies")
    captured, output = found.capture, arguments.output or next_name(path)
    if captured is not None and not _names_a_die(arguments):
        if arguments.since is not None:
            raise UsageError(
                "a capture cannot tell whether gains and offsets are enough",
                where="--since",
                hint="name the die with --die",
            )
        return Job(None, captured, output, None)
    device = opened(image, driver, die, seed)
    _require_die(found, device)
    drawn = output.with_suffix(".die") if simulates(driver) else None
    return Job(device, captured, output, die or drawn)


def found_in(image: Image, calib: Dataset, arguments: RecoverArguments) -> Found:
    """The capture of this image in the calibration folder, and what was passed over.

    Raises:
        CaptureError: a capture is damaged, or there are only others and no die is named.
        UsageError: there are several of this image.
    """
    from pimc.errors import OtherImageError, UsageError
    from pimc.runtime.capture import Capture

    found: dict[Path, Capture] = {}
    others: dict[Path, OtherImageError] = {}
    for path in calib.captures:
        try:
            found[path] = Capture.load(path, image)
        except OtherImageError as error:
            others[path] = error
    if len(found) > 1:
        raise UsageError(
            "the calibration folder holds several captures of this image",
            where=", ".join(sorted(path.name for path in found)),
            hint="keep the one of the die you recover",
        )
    if others and not found and not _names_a_die(arguments):
        raise next(iter(others.values()))
    notes = [f"{path} was taken of another image, and is left out" for path in others]
    if found and (arguments.dies is not None or arguments.several):
        why = "--dies draws dies of its own" if arguments.dies else "it is of one die of several"
        notes += [f"{path} is left out: {why}" for path in found]
        found = {}
    for path, capture in found.items():
        return Found(capture, path, tuple(notes))
    return Found(None, None, tuple(notes))


def _names_a_die(arguments: RecoverArguments) -> bool:
    """Whether there is more than a capture: a die is named, drawn, or attached."""
    from pimc.runtime.door.drivers import simulates

    named = bool(arguments.named) or arguments.dies is not None
    return named or not simulates(arguments.device)


def _require_die(found: Found, device: Device) -> None:
    """Make sure that the capture is of this die.

    Raises:
        CaptureError: it is of another one.
    """
    from pimc.errors import CaptureError

    captured = found.capture
    if captured is not None and captured.die != device.name:
        raise CaptureError(
            f"this capture was taken of die {captured.die}, and {device.name} is to be recovered",
            where=str(found.path),
            hint="take it out of the calibration folder, or recover the die that it is of",
        )


def next_name(path: Path) -> Path:
    """``model.pimc`` → ``model.r1.pimc`` → ``model.r2.pimc``, in the image's folder."""
    match = re.fullmatch(r"(.*)\.r(\d+)", path.stem)
    stem, number = (match[1], int(match[2])) if match else (path.stem, 0)
    return path.with_name(f"{stem}.r{number + 1}{path.suffix}")
