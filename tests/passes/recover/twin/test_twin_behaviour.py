"""What converters add to the twin: offsets and noise of every bitline, by its factor in the sum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.twin.twin import noise_current, offset_current
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, chip_of


def image_of(variant: tuple[str, str], **keys: Any) -> Image:
    """Two tiles one under the other, of two groups."""
    model = model_of(
        [node("Conv", ["x", "w"], ["y"], group=2)],
        {"x": ["N", 40, 3, 3]},
        {"w": drawn(6, 20, 2, 2)},
    )
    chip = chip_of(variant, **keys)
    x = drawn(16, 40, 3, 3)
    return compile_model(model, chip, calib=x, options=UNCLIPPED)


def known_of(image: Image) -> CellEstimate:
    before = prior(image, image.layers[0])
    rng = np.random.default_rng(1)
    shape = before.offset.shape
    return replace(before, offset=rng.standard_normal(shape), noise=rng.uniform(0.1, 9.0, shape))


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_offsets_and_noise_of_an_output_are_those_of_its_bitlines(
    variant: tuple[str, str], mode: str
) -> None:
    image = image_of(variant, **{"dac.mode": mode})
    (layer,), book = image.layers, image.codebook
    known = known_of(image)
    assert layer.row_blocks > 1
    conversions = sum(2**bit for bit in range(7)) if mode == "bit_serial" else 1
    offset, variance = np.zeros((2, 3)), np.zeros((2, 3))
    for block, bitline in np.ndindex(known.offset.shape):
        group = block // layer.row_blocks
        if book.layout == "arrays":
            plane, col = divmod(bitline, layer.cols)
        else:
            col, plane = divmod(bitline, book.col_planes)
        factor = book.factors[plane]
        offset[group, col] += conversions * factor * known.offset[block, bitline]
        variance[group, col] += factor**2 * known.noise[block, bitline]
    np.testing.assert_allclose(offset_current(image, layer, known), offset.reshape(-1))
    np.testing.assert_allclose(noise_current(image, layer, known), np.sqrt(variance).reshape(-1))


def test_two_phases_take_their_offsets_off_each_other() -> None:
    image = image_of(("offset", "reference"), **{"dac.signed": False})
    (layer,) = image.layers
    assert layer.input_signed
    known = known_of(image)
    assert not offset_current(image, layer, known).any()
    assert (noise_current(image, layer, known) > 0).all()
