"""ONNX Runtime's fused attention is taken apart, masks and past included."""

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


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("past", [0, 3])
def test_attention_that_looks_back(past, masked) -> None:
    """One token after the other, with the keys and values of those before."""
    inputs = ["x", "w", "b", "m" if masked else "", "p" if past else ""]
    nodes = [
        node(
            "Attention",
            inputs,
            ["y", "q"],
            num_heads=2,
            unidirectional=1,
            domain="com.microsoft",
        ),
    ]
    declared: dict[str, Any] = {"x": ["N", 5, 8]}
    feed = {"x": drawn(3, 5, 8)}
    if masked:
        nodes.insert(0, node("Cast", ["keys"], ["m"], to=TensorProto.INT32))
        declared["keys"] = ["N", 5 + past]
        feed["keys"] = np.tri(3, 5 + past, past + 2, np.float32)
    if past:
        declared["p"] = [2, "N", 2, past, 4]
        feed["p"] = drawn(2, 3, 2, past, 4)
    weights = {"w": drawn(8, 24), "b": drawn(24)}
    model = model_of(nodes, declared, weights, ("y", "q"), domains=("com.microsoft",))
    image = compared(model, **feed)
    assert layers(image) == [("w", "Attention", 1, 8, 24)]


def test_attention_in_float16() -> None:
    half = TensorProto.FLOAT16
    attributes: dict[str, Any] = {"num_heads": 2, "unidirectional": 1, "domain": "com.microsoft"}
    nodes = [
        node("Cast", ["x"], ["h"], to=half),
        node("Cast", ["p"], ["past"], to=half),
        node("Attention", ["h", "w", "b", "", "past"], ["u", "v"], **attributes),
        node("Cast", ["u"], ["y"], to=TensorProto.FLOAT),
        node("Cast", ["v"], ["q"], to=TensorProto.FLOAT),
    ]
    weights = {"w": drawn(8, 24).astype(np.float16), "b": drawn(24).astype(np.float16)}
    declared = {"x": ["N", 5, 8], "p": [2, "N", 2, 3, 4]}
    model = model_of(nodes, declared, weights, ("y", "q"), domains=("com.microsoft",))
    image = compared(model, 4e-3, x=drawn(3, 5, 8), p=drawn(2, 3, 2, 3, 4))
    assert layers(image) == [("w", "Attention", 1, 8, 24)]


@pytest.mark.parametrize("hidden", [-10000.0, -3.4028e38])
def test_attention_over_sentences_padded_on_the_left(hidden) -> None:
    """The first queries see padding alone."""
    nodes = [
        node("Cast", ["keys"], ["m"], to=TensorProto.INT32),
        node(
            "Attention",
            ["x", "w", "b", "m"],
            ["y"],
            num_heads=2,
            unidirectional=1,
            mask_filter_value=hidden,
            domain="com.microsoft",
        ),
    ]
    declared = {"x": ["N", 5, 8], "keys": ["N", 5]}
    weights = {"w": drawn(8, 24), "b": drawn(24)}
    model = model_of(nodes, declared, weights, domains=("com.microsoft",))
    keys = np.ones((3, 5), np.float32)
    keys[0, :1], keys[1, :3] = 0, 0
    compared(model, x=drawn(3, 5, 8), keys=keys)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_of_onnxruntime(masked) -> None:
    inputs = ["x", "w", "b", "m"] if masked else ["x", "w", "b"]
    nodes = [
        node("Attention", inputs, ["y"], num_heads=2, domain="com.microsoft"),
    ]
    if masked:
        nodes.insert(0, node("Cast", ["keys"], ["m"], to=TensorProto.INT32))
    declared = {"x": ["N", 5, 8]} | ({"keys": ["N", 5]} if masked else {})
    weights = {"w": drawn(8, 24), "b": drawn(24)}
    model = model_of(nodes, declared, weights, domains=("com.microsoft",))
    feed = {"x": drawn(3, 5, 8)} | ({"keys": np.tri(3, 5, 2, np.float32)} if masked else {})
    image = compared(model, **feed)
    assert layers(image) == [("w", "Attention", 1, 8, 24)]
