"""The tiny network on chips of every mapping, compiled once a module."""

from __future__ import annotations

from typing import Any

import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from tests.passes.recover.known_dies import VARIANTS, chip_of


@pytest.fixture(scope="module")
def images(tiny_model, tiny_inputs) -> dict[Any, Image]:
    return {v: compile_model(tiny_model(), chip_of(v), calib=tiny_inputs) for v in VARIANTS}


@pytest.fixture(scope="module")
def image(images) -> Image:
    return images["offset", "reference"]
