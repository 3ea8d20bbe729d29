"""Operators from codes to codes are lowered, and compute what they did before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.runtime.graph.executor import Executor
from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
    whole,
)


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("QLinearAdd", 2, {}),
        ("QLinearMul", 2, {}),
        ("QLinearConcat", 2, {"axis": 1}),
        ("QLinearAveragePool", 1, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("QLinearGlobalAveragePool", 1, {}),
        ("QLinearLeakyRelu", 1, {"alpha": 0.2}),
        ("QLinearSigmoid", 1, {}),
    ],
)
def test_operators_from_codes_to_codes(op, operands, attributes) -> None:
    """Behind a layer, so that something is compiled; a gradient can reach it."""
    given, result = ["q", "s", "z"] * operands, ["t", "z"]
    inputs = [*result, *given] if op == "QLinearConcat" else [*given, *result]
    nodes = [
        node("Conv", ["x", "w"], ["u"]),
        node("QuantizeLinear", ["u", "s", "z"], ["q"]),
        node(op, inputs, ["c"], domain="com.microsoft", **attributes),
        node("DequantizeLinear", ["c", "t", "z"], ["y"]),
    ]
    weights = {"w": drawn(3, 2, 1, 1), "s": np.float32(0.02), "t": np.float32(0.05)}
    model = model_of(
        nodes, {"x": ["N", 2, 4, 4]}, weights | {"z": np.uint8(120)}, domains=("com.microsoft",)
    )
    # A value on the border of two codes may fall to either.
    image = compared(model, 0.051, x=drawn(3, 2, 4, 4))
    assert layers(image) == [("w", "Conv", 1, 2, 3)]
    (layer,) = image.layers
    assert Executor(image.graph()).gradient_breaks([layer.output]) == []


TIED: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "Attention": (["{x}", "w"], {"w": drawn(8, 24)}, {"num_heads": 2}),
    "QAttention": (
        ["{x}q", "w", "b", "s", "ws", "", "z", "wz"],
        {"w": whole(8, 24), "b": drawn(24), "s": np.float32(0.02), "z": np.uint8(128),
         "ws": np.float32(0.01), "wz": np.int8(0)},
        {"num_heads": 2},
    ),
    "LSTM": (
        ["{x}", "w", "r"], {"w": drawn(1, 32, 8), "r": drawn(1, 32, 8)}, {"hidden_size": 8},
    ),
    "DynamicQuantizeLSTM": (
        ["{x}", "w", "r", "", "", "", "", "", "s", "z", "s", "z"],
        {"w": whole(1, 8, 32), "r": whole(1, 8, 32), "s": np.full(1, 0.01, np.float32),
         "z": np.zeros(1, np.int8)},
        {"hidden_size": 8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", TIED)
def test_tied_weights_of_whole_cells_are_programmed_once(op) -> None:
    operands, weights, attributes = TIED[op]
    nodes = []
    for x, y in (("x", "u"), ("v", "y")):
        if op == "QAttention":
            nodes.append(node("QuantizeLinear", [x, "s", "z"], [f"{x}q"]))
        given = [name.format(x=x) for name in operands]
        domain = "" if op == "LSTM" else "com.microsoft"
        nodes.append(node(op, given, [f"{y}0"], domain=domain, **attributes))
        nodes.append(node("Reshape", [f"{y}0", "shape"], [f"{y}1"]))
        nodes.append(node("Relu", [f"{y}1"], ["v" if y == "u" else y]))
    weights = weights | {"shape": np.array([-1, 5, 8])}
    model = model_of(nodes, {"x": ["N", 5, 8]}, weights, domains=("com.microsoft",))
    # ONNX Runtime rounds what goes into an LSTM of codes; codes may fall on a border.
    tolerance = {"DynamicQuantizeLSTM": 0.02, "QAttention": 0.03}.get(op, 1e-4)
    image = compared(model, tolerance, x=drawn(3, 5, 8))
    assert len(image.layers) == (2 if "LSTM" in op else 1)


def test_results_of_signed_codes_without_a_zero_point_stay_as_they_are() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["u"]),
        node("QuantizeLinear", ["u", "s", "z"], ["q"]),
        node("QLinearAdd", ["q", "s", "z", "q", "s", "z", "s"], ["c"], domain="com.microsoft"),
        node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    weights = {"w": drawn(5, 6), "s": np.float32(0.05), "z": np.int8(0)}
    model = model_of(nodes, {"x": ["N", 5]}, weights, domains=("com.microsoft",))
    compared(model, 0.101, x=drawn(4, 5))
