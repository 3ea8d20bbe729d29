"""Gates of recurrent layers: peepholes, coupling, clips and activations."""

from __future__ import annotations

import pytest
from onnx import numpy_helper

from tests.passes.lower.recurrent_nets import (
    recurrent,
)
from tests.passes.lowered_nets import (
    compared,
    drawn,
)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(
    ("peepholes", "attributes"),
    [(True, {}), (True, {"clip": 0.3}), (False, {"input_forget": 1})],
)
def test_unusual_lstms(peepholes, attributes, direction) -> None:
    model = recurrent("LSTM", direction, **attributes)
    if peepholes:
        model.graph.node[0].input.extend(["", "", "", "p"])
        ways = 2 if direction == "bidirectional" else 1
        model.graph.initializer.append(numpy_helper.from_array(drawn(ways, 15), "p"))
    image = compared(model, x=drawn(6, 3, 4))
    assert {layer.op for layer in image.layers} == {"LSTM"}


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("GRU", {"linear_before_reset": 0}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})],
)
def test_a_clip_limits_what_goes_into_the_gates(op, attributes) -> None:
    compared(recurrent(op, "forward", clip=0.2, **attributes), x=drawn(6, 3, 4))


def test_other_activations() -> None:
    compared(recurrent("RNN", "forward", activations=["Relu"]), x=drawn(6, 3, 4))
