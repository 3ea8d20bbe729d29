"""Recoveries that take a second, and captures for them."""

from __future__ import annotations

from pathlib import Path

from pimc.data.dataset import load_data
from pimc.image.image import Image
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.capture import capture as take
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

#: A few epochs on few images.
QUICK = ("--epochs", "1", "--rounds", "2")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_capture(image: Image, path: Path, seed: int = 7) -> None:
    session = Session(image, die=Die.simulated(seed))
    take(session, load_data(path.parent), CaptureOptions(128, 2), outputs=False).save(path)
