"""The image and the data that strategies are tried on."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image


@pytest.fixture(scope="module")
def image(tiny_model, tiny_inputs) -> Image:
    chip = Chip.default().with_array(64, 32).with_sigma(0.08)
    return compile_model(tiny_model(), chip, calib=tiny_inputs, options=Options(feedback=False))


@pytest.fixture(scope="module")
def calib() -> Dataset:
    return Dataset.of(np.random.default_rng(3).standard_normal((96, 2, 8, 8)).astype(np.float32))
