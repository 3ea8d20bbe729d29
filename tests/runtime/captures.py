"""Small images, and captures of simulated dies that hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.runtime.capture import Capture, CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

OPTIONS = CaptureOptions(vectors=64, repeats=3)
NOISELESS = {"read_noise.relative": 0.0}


def image_of(model: Any, x: np.ndarray | None, changes: dict[str, Any] | None = None) -> Image:
    """The tiny network on a chip with keys changed by dotted path."""
    chip = Chip.default().with_array(16, 8).with_(**(changes or {}))
    return compile_model(model, chip, calib=x)


def take(image: Image, x: np.ndarray, die: Die | None = None, **changes: Any) -> Capture:
    options = replace(OPTIONS, **changes)
    return capture(Session(image, die=die or Die.simulated(3)), Dataset.of(x), options)


def same(first: Capture, second: Capture) -> bool:
    """Whether all that both hold is equal."""
    heads = [(c.image_sha256, c.die, c.taken, c.reads) for c in (first, second)]
    parts = [
        {
            (index, name): value
            for index, layer in c.layers.items()
            for name, value in vars(layer).items()
        }
        | dict(c.outputs)
        for c in (first, second)
    ]
    return (
        heads[0] == heads[1]
        and parts[0].keys() == parts[1].keys()
        and all(np.array_equal(value, parts[1][name]) for name, value in parts[0].items())
    )
