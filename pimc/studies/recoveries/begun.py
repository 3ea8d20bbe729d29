"""What a recovery that begins, or goes on, must find, and what its checkpoint tells of the die."""

from __future__ import annotations

from typing import Any

from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.recover.bench.checkpoint import Checkpoint
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import require_programmed

__all__ = ["figure_told", "require_begins", "told_of"]


def require_begins(image: Image, device: Device, checkpoint: Checkpoint | None) -> None:
    """Make sure that a recovery that begins finds its image on the chip.

    Args:
        checkpoint: where a recovery of it would be noted; None where none is.

    Raises:
        UsageError: it does not.
    """
    try:
        require_programmed(image, device)
    except UsageError as cause:
        if checkpoint is None or not checkpoint.path.exists():
            raise
        # To write the image would undo what that recovery wrote.
        hint = f"a recovery that was cut may have written them ({checkpoint.path}): add --resume"
        raise UsageError(cause.message, cause.where, hint) from cause


def told_of(data: str, figure: float | None) -> dict[str, Any]:
    """What a checkpoint keeps of the die as it was.

    Args:
        data: fingerprint of the labelled data.
        figure: the task's, before the first write; None where it is not known.
    """
    return {} if figure is None else {"data": data, "accuracy_before": figure}


def figure_told(checkpoint: Checkpoint, data: str) -> float | None:
    """The figure before the first write, where it was measured on these data."""
    before = checkpoint.told.get("accuracy_before")
    known = checkpoint.told.get("data") == data
    return before if known and isinstance(before, float) else None
