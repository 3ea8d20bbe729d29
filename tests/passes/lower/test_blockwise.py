"""Products with weights of few bits in blocks are layers of what the codes stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
)


@pytest.mark.parametrize(
    ("bits", "rows", "block", "zeros"),
    [
        (4, 64, 32, "middle"),
        (4, 72, 16, "packed"),
        (4, 72, 16, "numbers"),
        (2, 64, 32, "middle"),
        (2, 72, 16, "packed"),
        (8, 40, 32, "middle"),
        (8, 40, 32, "packed"),
    ],
)
def test_products_with_weights_of_few_bits(bits, rows, block, zeros) -> None:
    rng, cols, count = np.random.default_rng(0), 6, -(-rows // block)
    packed = {
        "w": rng.integers(0, 256, (cols, count, block * bits // 8), np.uint8),
        "s": np.abs(drawn(cols, count)) + np.float32(0.1),
        "b": drawn(cols),
    }
    if zeros == "packed":
        packed["z"] = rng.integers(0, 256, (cols, -(-count * bits // 8)), np.uint8)
    elif zeros == "numbers":
        packed["z"] = drawn(cols, count) + np.float32(2 ** (bits - 1))
    inputs = ["x", "w", "s", "z" if "z" in packed else "", "", "b"]
    numbers = {"K": rows, "N": cols, "bits": bits, "block_size": block}
    nodes = [node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **numbers)]
    model = model_of(nodes, {"x": ["N", 3, rows]}, packed, domains=("com.microsoft",))
    image = compared(model, x=drawn(2, 3, rows))
    assert layers(image) == [("w", "MatMulNBits", 1, rows, cols)]


def test_products_with_weights_of_few_bits_in_float16() -> None:
    rng, rows, cols, count = np.random.default_rng(0), 72, 6, 5
    weights = {
        "w": rng.integers(0, 256, (cols, count, 8), np.uint8),
        "s": (np.abs(drawn(cols, count)) + 0.1).astype(np.float16),
    }
    numbers: dict[str, Any] = {"K": rows, "N": cols, "bits": 4, "block_size": 16}
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("MatMulNBits", ["h", "w", "s"], ["v"], domain="com.microsoft", **numbers),
        node("Cast", ["v"], ["y"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": ["N", 3, rows]}, weights, domains=("com.microsoft",))
    image = compared(model, 0.02, x=drawn(2, 3, rows))
    assert layers(image) == [("w", "MatMulNBits", 1, rows, cols)]
