"""``pimc.capture``: record what a chip really computes."""

from __future__ import annotations

from pathlib import Path

from pimc.functions.given import AnyData, AnyDie, data_of, file_of, session_of
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.capture import Capture, CaptureOptions
from pimc.runtime.capture import capture as take
from pimc.runtime.door.abilities import keep_disturb
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.session import Session

__all__ = ["capture"]


def capture(
    image: Image | Session | str | Path,
    calib: AnyData,
    *,
    die: AnyDie = None,
    device: str = "sim",
    seed: int = 0,
    options: CaptureOptions | None = None,
    ir_drop: Method | None = None,
    taken: str = "",
    output: str | Path | None = None,
    progress: Progress = silent,
) -> Capture:
    """Record, for every tile, raw codes for known inputs, and the network's outputs.

    Args:
        image: an image, its file, or a session on the chip.
        calib: inputs; labels are not used.
        die: a die, an open chip or its file, which holds the image; drawn from ``seed`` if None. A
            file is updated where reads disturb the cells.
        device: name of the driver, where ``die`` is not open yet.
        seed: of the die that is drawn, and of read noise.
        options: vectors, repeats, what is recorded; the defaults with ``seed`` if None.
        ir_drop: how a simulated die's wires are taken into account.
        taken: time to note in the capture, for example an ISO 8601 date.
        output: where to write the capture, before the die's file is updated: cut between them, the
            same call ends the same.
        progress: told of the layers.

    Raises:
        UsageError: the chip does not hold the image, there is no such file, or ``output`` cannot be
            written.
        DataError: the data cannot be read or do not fit.
        DeviceError: the chip failed.
    """
    session = session_of(image, die, driver=device, seed=seed, ir_drop=ir_drop)
    data = data_of(calib, session.image)
    chosen = options or CaptureOptions(seed=seed)
    found = take(session, data, chosen, progress=progress, taken=taken)
    if output is not None:
        found.save(output)
    keep_disturb(session.device, file_of(die))
    return found
