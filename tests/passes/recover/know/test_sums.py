"""From the outputs of whole layers to what the cells hold, against what codes tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.runtime.capture import CaptureOptions
from tests.passes.recover.known_dies import VARIANTS, chip_of, errors


@pytest.fixture(scope="module")
def images(tiny_model, tiny_inputs) -> dict[Any, Image]:
    return {v: compile_model(tiny_model(), chip_of(v), calib=tiny_inputs) for v in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_sums_of_whole_layers_leave_more_and_say_so(images, tiny_inputs, variant) -> None:
    by_sums = errors(images[variant], tiny_inputs, CaptureOptions(record="sums"), range(3))
    by_codes = errors(images[variant], tiny_inputs, CaptureOptions(), range(3))
    # Of bitlines that are added with factors, the sum shows the weighted sum of their cells.
    apart = variant[0] in ("differential", "arrays", "sliced")
    assert 0.9 * by_codes.share < by_sums.share < (0.8 if apart else 0.05)
    assert 0.5 < by_sums.z.std() < 1.3
    assert abs(by_sums.z.mean()) < 0.15


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_sums_with_converter_offsets_and_bit_planes(tiny_model, tiny_inputs, mode) -> None:
    chip = chip_of(("offset", "reference"), **{"adc.offset_error_lsb": 2.0, "dac.mode": mode})
    image = compile_model(tiny_model(), chip, calib=tiny_inputs)
    found = errors(image, tiny_inputs, CaptureOptions(record="sums"), range(2))
    by_codes = errors(image, tiny_inputs, CaptureOptions(), range(2))
    assert found.share < 0.01
    assert 0.5 < found.z.std() < 1.3 * by_codes.z.std()


def test_sums_of_dynamic_ranges(tiny_model) -> None:
    x = np.random.default_rng(0).standard_normal((64, 2, 8, 8)).astype(np.float32)
    image = compile_model(tiny_model(), chip_of(("offset", "reference")))
    assert errors(image, x, CaptureOptions(record="sums"), range(2)).share < 0.3
