"""A level beyond the chip's is found, wherever it lies and however cells are packed."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.files.weights.packing import bits_per_cell, pack_levels
from pimc.image.image import Image
from pimc.image.rules.levels import levels_are_those_of_the_chip
from tests.pimc.image.tiny_images import CHIP, tensors, tiny


@pytest.mark.parametrize("levels", [3, 5, 6, 9, 12, 100, 255, 300, 4095])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_level_that_the_chip_has_not(levels: int, rows: int) -> None:
    chip = CHIP.with_levels(levels).with_array(rows, 4)
    bits = bits_per_cell(levels)
    held = np.random.default_rng(0).integers(0, levels, (5, rows * 4)).astype(np.uint16)
    held[1, 0] = levels - 1
    manifest = tiny(chip=chip.to_dict()).manifest

    def found() -> list[str]:
        packed = tensors() | {"levels": pack_levels(held, bits)}
        return [*levels_are_those_of_the_chip(Image.build(manifest, packed))]

    assert found() == []
    for place in ((0, 0), (4, rows * 4 - 1)):
        kept, held[place] = held[place], levels
        assert found() == [f"tensor levels: holds level {levels}, the chip has {levels} levels"]
        held[place] = kept


def test_every_code_of_four_levels_is_one() -> None:
    all_ones = tensors() | {"levels": np.full((1, 2), 255, np.uint8)}
    assert [*levels_are_those_of_the_chip(Image.build(tiny().manifest, all_ones))] == []
