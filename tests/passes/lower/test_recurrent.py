"""Recurrent layers become loops of products, whatever their sequences and states."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.passes.lower.recurrent_nets import (
    recurrent,
)
from tests.passes.lowered_nets import (
    compared,
    drawn,
    model_of,
    node,
)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {}),
        ("GRU", {"linear_before_reset": 0}),
        ("GRU", {"linear_before_reset": 1}),
        ("RNN", {}),
    ],
)
def test_recurrent_layers(op, attributes, direction) -> None:
    image = compared(recurrent(op, direction, **attributes), x=drawn(6, 3, 4))
    assert {layer.op for layer in image.layers} == {op}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("started", [True, False])
def test_sequences_of_their_own_lengths(op, direction, started) -> None:
    """Behind its end a sequence gives zeros; its last states are those of its last step, if any."""
    model = recurrent(op, direction)
    graph, ways = model.graph, 2 if direction == "bidirectional" else 1
    given = ["lengths", *(["h0"] if started else [])]
    graph.node[0].input.extend(given)
    graph.node.insert(0, node("Cast", ["many"], ["lengths"], to=TensorProto.INT32))
    feed = {"x": drawn(6, 4, 4), "many": np.array([6, 1, 0, 5], np.float32)}
    graph.input.append(helper.make_tensor_value_info("many", TensorProto.FLOAT, ["N"]))
    if started:
        graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [ways, "N", 5]))
        feed["h0"] = drawn(ways, 4, 5)
    image = compared(model, **feed)
    assert {layer.op for layer in image.layers} == {op}


def test_initial_states_and_unused_outputs() -> None:
    lstm = node("LSTM", ["x", "w", "r", "", "", "h0", "c0"], ["", "h"], hidden_size=5)
    model = model_of(
        [lstm],
        {"x": ["T", "N", 4], "h0": [1, "N", 5], "c0": [1, "N", 5]},
        {"w": drawn(1, 20, 4), "r": drawn(1, 20, 5)},
        ("h",),
    )
    compared(model, x=drawn(6, 3, 4), h0=drawn(1, 3, 5), c0=drawn(2, 3, 5)[:1])
