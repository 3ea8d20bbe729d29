"""The dies that ``pimc recover`` is to bring back, and what is known of them beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.cli.recovering.arguments import RecoverArguments
from pimc.cli.recovering.dies import opened

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.runtime.capture import Capture
    from pimc.runtime.door.device import Device

__all__ = ["Job", "enough_since", "jobs"]

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


def jobs(
    image: Image, path: Path, calib: Dataset, seed: int, arguments: RecoverArguments
) -> Iterator[Job]:
    """The dies that the arguments name, one after the other; they are written where need be.

    Raises:
        UsageError: arguments that exclude each other.
    """
    from pimc.errors import UsageError
    from pimc.runtime.door.drivers import require_simulator, simulates

    dies, die, driver = arguments.dies, arguments.die, arguments.device
    if dies is not None and die is not None:
        raise UsageError("--die and --dies exclude each other", hint="leave one of them out")
    if dies is not None:
        require_simulator(driver, "--dies")
    simulated = simulates(driver)
    captured = _capture_of(image, calib)
    output = arguments.output or _next_name(path)
    if captured is not None and die is None and dies is None and simulated:
        if arguments.since is not None:
            raise UsageError(
                "a capture cannot tell whether gains and offsets are enough",
                where="--since",
                hint="name the die with --die",
            )
        yield Job(None, captured, output, None)
        return
    if dies is None:
        device = opened(image, driver, die, seed)
        fitting = captured if captured is not None and captured.die == device.name else None
        drawn = output.with_suffix(".die") if simulated else None
        yield Job(device, fitting, output, die or drawn)
        return
    for number in range(seed, seed + dies):
        one = output if dies == 1 else output.with_name(f"{output.stem}.die{number}.pimc")
        device = opened(image, driver, None, number)
        yield Job(device, None, one, one.with_suffix(".die"))


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
