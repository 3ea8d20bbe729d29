"""Ranges of converters, tried on the chip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.passes.recover.digital.ranges import fit_ranges
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

INPUTS = np.random.default_rng(1).standard_normal((128, 2, 8, 8)).astype(np.float32)


def image_of(tiny_model: Any, **keys: Any) -> Image:
    # Hardly any other errors: what a range costs is to be seen.
    chip = Chip.default().with_array(64, 32).with_sigma(0.002)
    chip = chip.with_(**{"read_noise.relative": 0.0, **keys})
    return compile_model(tiny_model(), chip, calib=INPUTS[:64])


def spoiled(image: Image, key: str, factor: float) -> Image:
    """The second layer's range made so many times as large."""
    second = image.layers[1]
    return image.with_layers([replace(second, **{key: getattr(second, key) * factor})])


def fitted(image: Image, seed: int = 3) -> Image:
    session = Session(image, die=Die.simulated(seed))
    return fit_ranges(session, teacher_array(image), {"x": torch.from_numpy(INPUTS)})


@pytest.mark.parametrize("factor", [0.4, 12.0])
@pytest.mark.parametrize("key", ["adc_lsb_us", "input_scale"])
def test_a_range_that_does_not_fit_is_mended(tiny_model, key, factor) -> None:
    image = spoiled(image_of(tiny_model), key, factor)
    found = fitted(image)
    before, after = (getattr(one.layers[1], key) for one in (image, found))
    assert after > before if factor < 1 else after < before
    # Only that layer was wrong.
    for number in (0, 2):
        assert getattr(found.layers[number], key) == pytest.approx(
            getattr(image.layers[number], key), rel=0.51
        )


def test_ranges_of_columns_move_together(tiny_model) -> None:
    image = image_of(tiny_model, **{"adc.range": "column"})
    wide = image.with_layers(
        replace(layer, adc_column_lsb_us=np.float32(4) * np.asarray(layer.adc_column_lsb_us))
        for layer in image.layers
    )
    found = fitted(wide)
    for layer, before in zip(found.layers, wide.layers, strict=True):
        ratio = np.asarray(layer.adc_column_lsb_us) / np.asarray(before.adc_column_lsb_us)
        assert ratio.max() == pytest.approx(ratio.min())
        assert ratio.max() < 1


def test_a_range_that_the_chip_fixes_stays(tiny_model) -> None:
    image = image_of(tiny_model, **{"adc.range": "fixed", "adc.full_scale_us": 300.0})
    found = fitted(image)
    for layer, before in zip(found.layers, image.layers, strict=True):
        assert layer.adc_lsb_us == before.adc_lsb_us


def test_inputs_of_dynamic_range_have_none(tiny_model) -> None:
    chip = Chip.default().with_array(64, 32)
    image = compile_model(tiny_model(), chip)
    assert all(layer.input_scale is None for layer in fitted(image).layers)
