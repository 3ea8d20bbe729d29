"""Transposed convolutions put their products where ONNX Runtime puts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
)

TRANSPOSED: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "kernel as wide as its stride": ({"strides": [2, 2]}, (3, 4, 5), (3, 4, 2, 2)),
    "overlapping": (
        {"strides": [2, 1], "pads": [1, 0, 1, 1], "output_padding": [1, 0]},
        (3, 4, 5),
        (3, 4, 3, 3),
    ),
    "groups": ({"group": 2, "strides": [2, 2]}, (4, 4, 4), (4, 3, 3, 3)),
    "stated size": ({"strides": [3], "output_shape": [11]}, (2, 4), (2, 3, 4)),
    "same": ({"strides": [2], "auto_pad": "SAME_UPPER"}, (2, 4), (2, 3, 3)),
    "dilated": ({"dilations": [2, 2]}, (2, 4, 4), (2, 3, 3, 2)),
    "3-D": ({"strides": [1, 2, 2]}, (2, 3, 3, 3), (2, 3, 2, 2, 2)),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolutions(case) -> None:
    attributes, size, kernel = TRANSPOSED[case]
    groups = attributes.get("group", 1)
    model = model_of(
        [node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)],
        {"x": ["N", *size]},
        {"w": drawn(*kernel), "b": drawn(groups * kernel[1])},
    )
    image = compared(model, x=drawn(2, *size))
    columns = kernel[1] * int(np.prod(kernel[2:]))
    assert layers(image) == [("w", "ConvTranspose", groups, kernel[0] // groups, columns)]
