"""Small images, and captures of simulated dies that hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pimc.api import compile as compile_model
from pimc.chip import Chip
from pimc.data import Dataset
from pimc.image import Image
from pimc.runtime.capture import Capture, CaptureOptions, capture
from pimc.runtime.die import Die
from pimc.runtime.session import Session

OPTIONS = CaptureOptions(vectors=64, repeats=3)
NOISELESS = {"read_noise.relative": 0.0}


def image_of(model: Any, x: np.ndarray | None, changes: dict[str, Any] | None = None) -> Image:
    """The tiny network on a chip with keys changed by dotted path."""
    chip = Chip.default().with_array(16, 8).with_(**(changes or {}))
    return compile_model(model, chip, calib=x)


def take(image: Image, x: np.ndarray, die: Die | None = None, **changes: Any) -> Capture:
    options = replace(OPTIONS, **changes)
    return capture(Session(image, die or Die.simulated(3)), Dataset.of(x), options)
