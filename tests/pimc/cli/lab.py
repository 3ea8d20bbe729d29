"""What tests of a laboratory's driver share: commands, inputs, a programmed rack."""

from __future__ import annotations

from typing import Any

import numpy as np

from pimc.image.image import Image
from pimc.runtime.door.program import program

QUICK = ("recover", "tiny.pimc", "--calib", "data", "--epochs", "1", "--rounds", "2")
PROGRAM = ("program", "tiny.pimc")
CAPTURE = ("capture", "--calib", "data", "--vectors", "16", "--repeats", "1")
EVAL = ("eval", "--data", "data", "--limit", "64")


def rack(lab: Any, image: Image, seed: int = 0) -> Any:
    """A rack that holds the image."""
    device = lab.Rack(image, seed)
    program(image, device)
    return device


def inputs() -> np.ndarray:
    return np.load("data/test.npz")["x"][:8]
