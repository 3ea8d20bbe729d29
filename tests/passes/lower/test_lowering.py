"""Convolutions stay what they are, with ONNX Runtime's results."""

from __future__ import annotations

from typing import Any

import pytest

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.studies.golden.verify import verify
from tests.passes.lowered_nets import (
    compared,
    drawn,
    model_of,
    node,
)

CONVOLUTIONS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "3-D": ({"pads": [1, 0, 1, 1, 2, 0], "strides": [1, 2, 1]}, (3, 5, 6, 7), (4, 3, 3, 3, 2)),
    "3-D dilated": ({"dilations": [2, 1, 2]}, (2, 6, 5, 6), (4, 2, 2, 3, 2)),
    "3-D groups": ({"group": 2, "auto_pad": "SAME_UPPER"}, (4, 4, 5, 6), (4, 2, 3, 3, 3)),
    "depthwise": ({"group": 4, "pads": [1] * 4}, (4, 6, 6), (8, 1, 3, 3)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case) -> None:
    attributes, size, kernel = CONVOLUTIONS[case]
    model = model_of(
        [node("Conv", ["x", "w", "b"], ["y"], **attributes)],
        {"x": ["N", *size]},
        {"w": drawn(*kernel), "b": drawn(kernel[0])},
    )
    x = drawn(3, *size)
    image = compared(model, x=x)
    calibrated = compile_model(model, Chip.default().with_array(64, 64), calib=x)
    assert verify(calibrated, {"x": x}).ok
    assert verify(image, {"x": x}).ok
