"""Operators that ONNX Runtime's optimizer fuses are taken apart, and compute what they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.passes.array.judge import classify
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.studies.golden.verify import verify
from tests.passes.lowered_nets import (
    compared,
    drawn,
    golden,
    in_float,
    layers,
    model_of,
    node,
    whole,
)

BYTES = np.random.default_rng(3).integers(0, 256, (16, 16), np.uint8)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Relu", ()),
        ("LeakyRelu", (0.2,)),
        ("Clip", (-0.1, 0.3)),
        ("Tanh", ()),
        ("Sigmoid", ()),
        ("HardSigmoid", (0.3, 0.4)),
    ],
)
@pytest.mark.parametrize("added", [True, False])
def test_convolutions_with_their_activation(activation, parameters, added) -> None:
    attributes: dict[str, Any] = {"activation": activation, "pads": [1] * 4, "strides": [2, 2]}
    if parameters:
        attributes["activation_params"] = list(parameters)
    inputs = ["x", "w", "b", *(["z"] if added else [])]
    nodes = [node("FusedConv", inputs, ["y"], domain="com.microsoft", **attributes)]
    declared, feed = {"x": ["N", 2, 6, 6]}, {"x": drawn(3, 2, 6, 6)}
    if added:
        declared["z"], feed["z"] = ["N", 4, 3, 3], drawn(3, 4, 3, 3)
    weights = {"w": drawn(4, 2, 3, 3), "b": drawn(4)}
    image = compared(model_of(nodes, declared, weights, domains=("com.microsoft",)), **feed)
    assert layers(image) == [("w", "FusedConv", 1, 18, 4)]


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Tanh"])
def test_gemms_with_their_activation(activation) -> None:
    attributes: dict[str, Any] = {"activation": activation, "transB": 1, "alpha": 0.5, "beta": 2.0}
    if activation == "LeakyRelu":
        attributes["activation_alpha"] = 0.3
    nodes = [node("FusedGemm", ["x", "w", "b"], ["y"], domain="com.microsoft", **attributes)]
    weights = {"w": drawn(4, 6), "b": drawn(4)}
    model = model_of(nodes, {"x": ["N", 6]}, weights, domains=("com.microsoft",))
    assert layers(compared(model, x=drawn(5, 6))) == [("w", "FusedGemm", 1, 6, 4)]


@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 4, 6)])
def test_constants_of_more_dimensions_are_transposed(shape) -> None:
    nodes = [node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transB=1)]
    data = [shape[0], 3, 6]
    model = model_of(nodes, {"x": ["N", *data]}, {"w": drawn(*shape)}, domains=("com.microsoft",))
    (layer,) = compared(model, x=drawn(5, *data)).layers
    assert (layer.op, layer.groups, layer.rows, layer.cols) == ("FusedMatMul", shape[0], 6, 4)


def test_shapes_that_lowering_brings_to_light_are_used() -> None:
    """Nothing infers shapes behind ONNX Runtime's own operators: a model has those it states."""
    nodes = [
        node("Attention", ["x", "w"], ["a"], num_heads=2, domain="com.microsoft"),
        node("FusedMatMul", ["a", "v"], ["b"], transA=1, domain="com.microsoft"),
        node("FusedMatMul", ["b", "u"], ["y"], transA=1, transB=1, domain="com.microsoft"),
    ]
    weights = {"w": drawn(8, 24), "v": drawn(5, 3), "u": drawn(4, 8)}
    model = model_of(nodes, {"x": ["N", 5, 8]}, weights, domains=("com.microsoft",))
    image = compared(model, x=drawn(2, 5, 8))
    assert [e.name for e in image.layers] == ["w", "v", "u"]


def test_what_cannot_be_taken_apart_is_refused_on_request() -> None:
    """Nobody knows the rank of what comes out of a foreign operator."""
    nodes = [
        node("MatMul", ["x", "v"], ["u"]),
        node("Gelu", ["u"], ["g"], domain="com.microsoft"),
        node("FusedMatMul", ["g", "w"], ["y"], transA=1, domain="com.microsoft"),
    ]
    weights = {"v": drawn(6, 5), "w": drawn(3, 4)}
    model = model_of(nodes, {"x": [3, 6]}, weights, domains=("com.microsoft",))
    plan = Lower()(Simplify()(load_model(model)))
    reports = {report.op: report for report in classify(plan)}
    found = reports["com.microsoft::FusedMatMul"]
    assert found.where == "digital"
    assert "operands of known rank" in found.reason
    refused = {report.op: report.where for report in classify(plan, array_only=True)}
    assert refused["com.microsoft::FusedMatMul"] == "refused"


@pytest.mark.parametrize("op", ["FusedMatMul", "DynamicQuantizeMatMul", "MatMulNBits"])
def test_tied_weights_of_fused_operators_are_one_layer(op) -> None:
    weights: dict[str, Any] = {"w": drawn(16, 16)}
    operands = ["w"]
    attributes: dict[str, Any] = {"transB": 1}
    if op == "DynamicQuantizeMatMul":
        weights = {"w": whole(16, 16), "s": np.float32(0.01), "z": np.int8(0)}
        operands, attributes = ["w", "s", "z"], {}
    elif op == "MatMulNBits":
        weights = {"w": BYTES[:16, :8].reshape(16, 1, 8), "s": np.abs(drawn(16, 1))}
        operands, attributes = ["w", "s"], {"K": 16, "N": 16, "bits": 4, "block_size": 16}
    nodes = [
        node(op, ["x", *operands], ["u"], domain="com.microsoft", **attributes),
        node("Relu", ["u"], ["v"]),
        node(op, ["v", *operands], ["y"], domain="com.microsoft", **attributes),
    ]
    model = model_of(nodes, {"x": ["N", 16]}, weights, domains=("com.microsoft",))
    assert layers(compared(model, 1e-3, x=drawn(5, 16))) == [("w", op, 1, 16, 16)]


@pytest.mark.parametrize("pattern", ["fc1", "h", "w"])
def test_fused_operators_stay_digital_by_any_name(pattern) -> None:
    nodes = [
        node("FusedGemm", ["x", "w"], ["h"], "fc1", domain="com.microsoft", activation="Relu"),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    weights = {"w": drawn(6, 4), "v": drawn(4, 3)}
    model = model_of(nodes, {"x": ["N", 6]}, weights, domains=("com.microsoft",))
    image = compile_model(model, options=Options(digital=(pattern,)))
    assert [e.name for e in image.layers] == ["v"]


def test_float16_stays_float16_behind_fused_operators() -> None:
    half, domain = TensorProto.FLOAT16, "com.microsoft"
    nodes = [
        node("Cast", ["x"], ["h"], to=half),
        node("FusedMatMul", ["h", "w"], ["u"], alpha=0.5, transB=1, domain=domain),
        node("FusedGemm", ["u", "v"], ["g"], activation="Relu", domain=domain),
        node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {"w": drawn(4, 6).astype(np.float16), "v": drawn(4, 3).astype(np.float16)}
    model = model_of(nodes, {"x": ["N", 6]}, weights, domains=(domain,))
    plan = Lower()(Simplify()(load_model(model)))
    kinds = {n.outputs[0].dtype for n in list(plan.graph.graph)[:-1]}
    assert kinds == {ir.DataType.FLOAT16}


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_with_a_factor_and_transposed_operands(left, trans_a, trans_b) -> None:
    attributes: dict[str, Any] = {"alpha": 0.5, "transA": trans_a, "transB": trans_b}
    shapes = [(6, 3) if trans_a else (3, 6), (4, 6) if trans_b else (6, 4)]
    weight, data = (shapes[0], shapes[1]) if left else (shapes[1], shapes[0])
    operands = ["w", "x"] if left else ["x", "w"]
    nodes = [node("FusedMatMul", operands, ["y"], domain="com.microsoft", **attributes)]
    declared = {"x": ["N", *data]}
    model = model_of(nodes, declared, {"w": drawn(*weight)}, domains=("com.microsoft",))
    (layer,) = compared(model, x=drawn(5, *data)).layers
    assert (layer.name, layer.op, layer.rows) == ("w", "FusedMatMul", 6)


def test_a_network_saved_by_the_optimizer_is_the_same_network(tmp_path) -> None:
    nodes = [
        node("Conv", ["x", "a"], ["u"], pads=[1] * 4),
        node("Relu", ["u"], ["v"]),
        node("Conv", ["v", "b"], ["s"], pads=[1] * 4),
        node("Add", ["s", "v"], ["t"]),
        node("Relu", ["t"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "c"], ["g"]),
        node("Relu", ["g"], ["y"]),
    ]
    weights = {"a": drawn(4, 2, 3, 3), "b": drawn(4, 4, 3, 3), "c": drawn(64, 3)}
    model = model_of(nodes, {"x": ["N", 2, 4, 4]}, weights)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(options.optimized_model_filepath)
    assert {"FusedConv", "FusedGemm"} <= {n.op_type for n in optimized.graph.node}
    x = drawn(5, 2, 4, 4)
    image = compared(optimized, x=x)
    np.testing.assert_allclose(in_float(image, {"x": x})[0], golden(model, {"x": x})[0], atol=1e-5)
    assert [(e.rows, e.cols) for e in image.layers] == [(18, 4), (36, 4), (64, 3)]
    assert verify(image, {"x": x}).ok
