"""What a driver may answer, and that it comes back as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.chip.converters import code_limits
from pimc.runtime.die.region import Region
from pimc.runtime.door import answers
from pimc.runtime.door.device import Saturation
from pimc.runtime.door.foreign import AnswerError


def test_answers_that_are_taken_come_back_as_they_are() -> None:
    ok, levels = np.array([True, False]), np.array([-1, 15])
    assert answers.took(ok, 2) is ok
    assert answers.written(levels, 2, 16) is levels
    met, kept = {"w": Saturation(4, 1)}, {"g": np.zeros(3)}
    assert answers.saturation(met) == met
    assert answers.state(kept)["g"] is kept["g"]
    assert [answers.count(found) for found in (0, np.int64(7))] == [0, 7]
    assert [answers.yes_or_no(found) for found in (False, np.True_)] == [False, True]
    assert answers.name("lab", "lab") == "lab"


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_levels_may_be_of_any_integer_type(kind: Any) -> None:
    found = answers.written(np.array([-1, 3], kind), 2, 4)
    assert (found.dtype.name, found.tolist()) == ("int64", [-1, 3])


def test_no_cells_no_levels() -> None:
    assert len(answers.written(np.zeros(0, np.int64), 0, 4)) == 0
    assert len(answers.took(np.zeros(0, np.bool_), 0)) == 0


@pytest.mark.parametrize(
    "kind", ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"]
)
@pytest.mark.parametrize("array", [False, True])
def test_codes_may_be_of_any_type_that_holds_them(tiny_image, kind: str, array: bool) -> None:
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    values = np.arange(blocks * columns * 6).reshape(2, blocks, columns, 3) % 100
    found: Any = values.astype(kind)
    if not array:
        found = torch.from_numpy(found)
    limits = code_limits(tiny_image.chip, region.signed)
    codes = answers.codes(found, region, torch.zeros(2, blocks, rows, 3), limits)
    assert codes.dtype == torch.float32
    np.testing.assert_array_equal(codes.numpy(), values)


@pytest.mark.parametrize("wrong", [2**24 + 1, 1e30])
def test_codes_are_judged_before_they_are_rounded(tiny_image, wrong: float) -> None:
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    found = torch.full((1, blocks, columns, 1), wrong, dtype=torch.float64)
    with pytest.raises(AnswerError, match="the converter's are"):
        answers.codes(found, region, torch.zeros(1, blocks, rows, 1), (0, 2**24))


def test_one_wrong_code_among_many_is_found(tiny_image) -> None:
    region = Region.of(tiny_image, tiny_image.layers[0])
    blocks, rows, columns = region.cells.shape
    limits = code_limits(tiny_image.chip, region.signed)
    for wrong in (float("nan"), float("-inf"), limits[1] + 1.0, limits[0] - 1.0, 0.5):
        found = torch.zeros(4, blocks, columns, 5)
        found[3, -1, -1, 4] = wrong
        with pytest.raises(AnswerError):
            answers.codes(found, region, torch.zeros(4, blocks, rows, 5), limits)
