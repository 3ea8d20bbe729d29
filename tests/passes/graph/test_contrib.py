"""Quantizers of ONNX Runtime's own domain are those of ONNX, where ONNX knows them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from pimc.passes.array.judge import classify
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.runtime.graph.executor import Executor
from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
    whole,
)


@pytest.mark.parametrize("wide", [True, False])
def test_quantizers_of_another_domain_are_those_of_onnx(wide) -> None:
    """Codes of 16 bits are not ONNX's before opset 21: these stay, and are computed."""
    domain, kind = "com.microsoft", np.uint16 if wide else np.uint8
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], domain=domain),
        node("DequantizeLinear", ["q", "s", "z"], ["d"], domain=domain),
        node("DequantizeLinear", ["c", "ws", "wz"], ["w"], domain=domain, axis=1),
        node("MatMul", ["d", "w"], ["u"]),
        node("QuantizeLinear", ["u", "s", "z"], ["r"], domain=domain),
        node("DequantizeLinear", ["r", "s", "z"], ["y"], domain=domain),
    ]
    weights = {
        "c": whole(5, 6), "ws": np.linspace(0.01, 0.03, 6, dtype=np.float32),
        "wz": np.zeros(6, np.int8), "s": np.float32(0.02), "z": kind(100),
    }  # fmt: skip
    model = model_of(nodes, {"x": ["N", 5]}, weights, domains=(domain,))
    # A value on the border of two codes may fall to either.
    image = compared(model, 0.021, x=drawn(4, 5))
    assert layers(image) == [("w", "MatMul", 1, 5, 6)]
    (layer,) = image.layers
    executor = Executor(image.graph())
    breaks = [n.op_type for n in executor.gradient_breaks([layer.output])]
    assert breaks == (["QuantizeLinear", "DequantizeLinear"] if wide else [])


def test_a_quantizer_that_onnx_does_not_know_leaves_the_others_theirs() -> None:
    """Before opset 19 scales of float16 are not ONNX's."""
    domain = "com.microsoft"
    nodes = [
        node("DequantizeLinear", ["c", "ws", "wz"], ["w"], domain=domain),
        node("MatMul", ["x", "w"], ["u"]),
        node("Cast", ["u"], ["h"], to=TensorProto.FLOAT16),
        node("QuantizeLinear", ["h", "s", "z"], ["q"], domain=domain),
        node("DequantizeLinear", ["q", "s", "z"], ["d"], domain=domain),
        node("Cast", ["d"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {
        "c": whole(5, 6), "ws": np.float32(0.02), "wz": np.int8(0), "s": np.float16(0.02),
        "z": np.uint8(100),
    }  # fmt: skip
    plan = Simplify()(load_model(model_of(nodes, {"x": ["N", 5]}, weights, domains=(domain,))))
    assert [n.op_type for n in plan.graph.graph if n.domain == domain] == [
        "QuantizeLinear",
        "DequantizeLinear",
    ]
    assert [report.where for report in classify(Lower()(plan)) if report.op == "MatMul"] == [
        "array"
    ]
