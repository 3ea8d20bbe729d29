"""A network that needs recovery, and a folder with all that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session


@pytest.fixture(scope="session")
def noisy(tiny_model, tiny_inputs) -> Image:
    """The tiny network on a chip of large errors; reads without noise, so that they repeat."""
    chip = Chip.default().with_array(64, 32).with_sigma(0.12).with_(**{"read_noise.relative": 0.0})
    model = tiny_model()
    return compile_model(model, chip, calib=tiny_inputs, options=Options(feedback=False))


@pytest.fixture
def recovery_job(noisy, tiny_model, here) -> Path:
    """The current folder: an image, its model, a programmed die, a folder of data."""
    onnx.save(tiny_model(), here / "tiny.onnx")
    noisy.save(here / "tiny.pimc")
    die = Die.simulated(7)
    Session(noisy, die=die)
    die.save(here / "chip.die")
    (here / "data").mkdir()
    rng = np.random.default_rng(3)
    for name, count in (("calib", 128), ("test", 256)):
        x = rng.standard_normal((count, 2, 8, 8)).astype(np.float32)
        y = float_session(noisy).run(None, {"x": x})[0].argmax(axis=1)
        np.savez(here / "data" / f"{name}.npz", x=x, y=y)
    return here
