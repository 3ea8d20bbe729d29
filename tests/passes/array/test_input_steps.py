"""Steps of activations that a quantized network states, through what only moves values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.passes.array.input_steps import input_steps
from pimc.plan.records import InputSteps

BYTE = InputSteps(0.5, -100, 155)


def steps(nodes: list[onnx.NodeProto], **constants: Any) -> InputSteps | None:
    """The steps of ``y``; ``q`` are bytes, ``x`` numbers that come in."""
    values = {"s": np.float32(0.5), "z": np.uint8(100)} | constants
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("q", TensorProto.UINT8, ["N", 4]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    return input_steps(model.graph.outputs[0])


def node(op: str, *inputs: str, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [out], **attributes)


NUMBERS = node("DequantizeLinear", "q", "s", "z", out="a")


def test_a_scale_and_a_zero_point() -> None:
    assert steps([node("DequantizeLinear", "q", "s", "z")]) == BYTE
    assert steps([node("DequantizeLinear", "q", "s")]) == InputSteps(0.5, 0, 255)
    signed = steps([node("DequantizeLinear", "q", "s", "z")], z=np.int8(-3))
    assert signed == InputSteps(0.5, -125, 130)


@pytest.mark.parametrize(
    "moved",
    [
        node("Flatten", "a"),
        node("Transpose", "a", perm=[1, 0]),
        node("Pad", "a", "pads"),
        node("Pad", "a", "pads", "zero"),
        node("Pad", "a", "pads", mode="reflect"),  # what lies at the border is there already
        node("Concat", "a", "a", axis=0),
    ],
    ids=lambda each: each.op_type,
)
def test_what_moves_values_keeps_their_steps(moved: onnx.NodeProto) -> None:
    constants = {"pads": np.array([0, 1, 0, 1]), "zero": np.float32(0)}
    assert steps([NUMBERS, moved], **constants) == BYTE


@pytest.mark.parametrize(
    "moved",
    [
        node("Relu", "a"),
        node("Pad", "a", "pads", "one"),
        node("Concat", "a", "x", axis=0),
    ],
    ids=lambda each: f"{each.op_type} {len(each.input)}",
)
def test_what_else_there_is_has_none(moved: onnx.NodeProto) -> None:
    constants = {"pads": np.array([0, 1, 0, 1]), "one": np.float32(1)}
    found = steps([NUMBERS, moved], **constants)
    assert found is None


def test_two_concatenated_scales_have_none() -> None:
    other = node("DequantizeLinear", "q", "t", "z", out="b")
    joined = node("Concat", "a", "b", axis=0)
    assert steps([NUMBERS, other, joined], t=np.float32(0.25)) is None
    assert steps([NUMBERS, other, joined], t=np.float32(0.5)) == BYTE


def test_scales_of_columns_have_none() -> None:
    vector = np.full(4, 0.5, np.float32)
    zeros = np.full(4, 100, np.uint8)
    assert steps([node("DequantizeLinear", "q", "s", "z", axis=1)], s=vector, z=zeros) is None
    assert steps([node("DequantizeLinear", "q", "s", "z", axis=1)], z=zeros) is None
    assert input_steps(None) is None
