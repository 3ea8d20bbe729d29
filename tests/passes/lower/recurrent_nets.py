"""Recurrent layers that several tests lower."""

from __future__ import annotations

from typing import Any

import onnx

from tests.passes.lowered_nets import (
    drawn,
    model_of,
    node,
)


def recurrent(op: str, direction: str, **attributes: Any) -> onnx.ModelProto:
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
    outputs = ["y", "h", "c"] if op == "LSTM" else ["y", "h"]
    steps = node(
        op, ["x", "w", "r", "b"], outputs, hidden_size=5, direction=direction, **attributes
    )
    shapes = {"w": (ways, gates * 5, 4), "r": (ways, gates * 5, 5), "b": (ways, gates * 10)}
    weights = {name: drawn(*shape) for name, shape in shapes.items()}
    return model_of([steps], {"x": ["T", "N", 4]}, weights, tuple(outputs))
