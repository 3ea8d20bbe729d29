"""Networks quantized elsewhere are lowered, and compute what they did before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.errors import ModelError
from pimc.studies.golden.verify import verify
from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
    whole,
)


def test_quantized_convolution() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QLinearConv", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["yq"],
             pads=[1] * 4),
        node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]  # fmt: skip
    weights = {
        "w": whole(6, 3, 3, 3), "b": np.arange(6, dtype=np.int32) * 50,
        "xs": np.float32(0.03), "xz": np.uint8(120),
        "ws": np.linspace(0.01, 0.02, 6, dtype=np.float32), "wz": np.zeros(6, np.int8),
        "ys": np.float32(0.05), "yz": np.uint8(128),
    }  # fmt: skip
    # A value on the border of two codes may fall to either.
    compared(model_of(nodes, {"x": ["N", 3, 6, 6]}, weights), 0.051, x=drawn(4, 3, 6, 6))


def test_quantized_product() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QLinearMatMul", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["yq"]),
        node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    weights = {
        "w": whole(5, 6), "xs": np.float32(0.01), "xz": np.int8(3), "ws": np.float32(0.01),
        "wz": np.int8(0), "ys": np.float32(0.02), "yz": np.int8(-4),
    }  # fmt: skip
    compared(model_of(nodes, {"x": ["N", 5]}, weights), 0.021, x=drawn(4, 5))


def test_integer_product_with_scales_found_while_it_runs() -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("MatMulInteger", ["xq", "w", "xz", "wz"], ["sums"]),
        node("Cast", ["sums"], ["numbers"], to=TensorProto.FLOAT),
        node("Mul", ["numbers", "xs"], ["y"]),
    ]
    weights = {"w": whole(5, 6), "wz": np.int8(2)}
    compared(model_of(nodes, {"x": ["N", 5]}, weights), x=drawn(4, 5))


def test_integer_convolution() -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("ConvInteger", ["xq", "w", "xz"], ["sums"], pads=[1] * 4),
        node("Cast", ["sums"], ["numbers"], to=TensorProto.FLOAT),
        node("Mul", ["numbers", "xs"], ["y"]),
    ]
    model = model_of(nodes, {"x": ["N", 2, 5, 5]}, {"w": whole(4, 2, 3, 3).astype(np.uint8)})
    compared(model, 1e-4, x=drawn(3, 2, 5, 5))


@pytest.mark.parametrize(
    ("kind", "zero", "scale"),
    [("int8", 0, 0.02), ("uint8", 0, 0.02), ("uint8", 128, 0.02), ("uint8", 100, None)],
)
@pytest.mark.parametrize("calibrated", [True, False])
def test_scales_of_a_quantized_model_are_kept(kind, zero, scale, calibrated) -> None:
    """Where the DAC has codes for them: 0 to 255 or -127 to 127."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    weights = {"s": np.float32(0.02), "z": np.dtype(kind).type(zero), "w": drawn(5, 6)}
    model = model_of(nodes, {"x": ["N", 5]}, weights)
    x = drawn(64, 5)
    image = compile_model(model, Chip.default().with_array(64, 64), calib=x if calibrated else None)
    (layer,) = image.layers
    if scale is not None:
        assert layer.input_scale == pytest.approx(scale)
        assert layer.input_signed == (kind == "int8" or zero > 0)
    elif calibrated:
        assert layer.input_scale != pytest.approx(0.02)
    else:
        assert layer.input_scale is None
    assert verify(image, {"x": x}).ok


@pytest.mark.parametrize("per_column", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("op", ["MatMulIntegerToFloat", "DynamicQuantizeMatMul"])
def test_products_of_codes_that_give_numbers(op, biased, per_column) -> None:
    weights = {
        "w": whole(5, 6),
        "ws": np.linspace(0.01, 0.03, 6, dtype=np.float32) if per_column else np.float32(0.02),
        "wz": np.arange(6, dtype=np.int8) if per_column else np.int8(3),
    } | ({"b": drawn(6)} if biased else {})
    bias = ["b"] if biased else []
    if op == "DynamicQuantizeMatMul":
        nodes = [node(op, ["x", "w", "ws", "wz", *bias], ["y"], domain="com.microsoft")]
    else:
        codes = ["xq", "w", "xs", "ws", "xz", "wz", *bias]
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            node(op, codes, ["y"], domain="com.microsoft"),
        ]
    model = model_of(nodes, {"x": ["N", 3, 5]}, weights, domains=("com.microsoft",))
    image = compared(model, 1e-4, x=drawn(4, 3, 5))
    assert layers(image) == [("w", op, 1, 5, 6)]


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("per_column", [True, False])
def test_lstms_of_codes(direction, per_column) -> None:
    """ONNX Runtime rounds inputs and states to eight bits, here they stay numbers."""
    ways = 2 if direction == "bidirectional" else 1
    held = (ways, 20) if per_column else (ways,)
    weights = {
        "w": whole(ways, 4, 20), "r": whole(ways, 5, 20), "b": drawn(ways, 40),
        "ws": np.full(held, 0.01, np.float32), "wz": np.full(held, 4, np.int8),
        "rs": np.full(held, 0.02, np.float32), "rz": np.zeros(held, np.int8),
    }  # fmt: skip
    if per_column:
        weights["wz"] = np.zeros(held, np.int8)  # ONNX Runtime has no others then
    operands = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    nodes = [
        node("DynamicQuantizeLSTM", operands, ["y", "h", "c"], hidden_size=5, direction=direction,
             domain="com.microsoft"),
    ]  # fmt: skip
    model = model_of(
        nodes, {"x": ["T", "N", 4]}, weights, ("y", "h", "c"), domains=("com.microsoft",)
    )
    image = compared(model, 0.02, x=drawn(6, 3, 4))
    assert {layer.op for layer in image.layers} == {"DynamicQuantizeLSTM"}
    assert len(image.layers) == 2 * ways


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("coded", [True, False])
def test_gemms_of_codes(coded, trans) -> None:
    operands = ["xq", "xs", "xz", "w", "ws", "wz", "c", *(["ys", "yz"] if coded else [])]
    out = "yq" if coded else "y"
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QGemm", operands, [out], domain="com.microsoft", transB=trans, alpha=0.5),
        *([node("DequantizeLinear", ["yq", "ys", "yz"], ["y"])] if coded else []),
    ]
    weights = {
        "w": whole(6, 5) if trans else whole(5, 6), "c": np.arange(6, dtype=np.int32) * 40,
        "xs": np.float32(0.01), "xz": np.uint8(120),
        "ws": np.linspace(0.01, 0.02, 6, dtype=np.float32), "wz": np.zeros(6, np.int8),
        "ys": np.float32(0.02), "yz": np.uint8(128),
    }  # fmt: skip
    model = model_of(nodes, {"x": ["N", 5]}, weights, domains=("com.microsoft",))
    # A value on the border of two codes may fall to either.
    image = compared(model, 0.021 if coded else 1e-4, x=drawn(4, 5))
    assert layers(image) == [("w", "QGemm", 1, 5, 6)]


@pytest.mark.parametrize("masked", [True, False])
def test_attention_of_codes(masked) -> None:
    operands = ["xq", "w", "b", "xs", "ws", "m" if masked else "", "xz", "wz"]
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QAttention", operands, ["y"], domain="com.microsoft", num_heads=2),
    ]
    declared: dict[str, Any] = {"x": ["N", 5, 8]}
    feed = {"x": drawn(3, 5, 8)}
    if masked:
        nodes.insert(0, node("Cast", ["keys"], ["m"], to=TensorProto.INT32))
        declared["keys"], feed["keys"] = ["N", 5], np.tri(3, 5, 2, np.float32)
    weights = {
        "w": whole(8, 24), "b": drawn(24), "xs": np.float32(0.02), "xz": np.uint8(128),
        "ws": np.float32(0.01), "wz": np.int8(0),
    }  # fmt: skip
    model = model_of(nodes, declared, weights, domains=("com.microsoft",))
    image = compared(model, 1e-4, **feed)
    assert layers(image) == [("w", "QAttention", 1, 8, 24)]


def test_attention_of_codes_with_another_mask_is_refused_on_request() -> None:
    operands = ["xq", "w", "b", "xs", "ws", "m", "xz", "wz"]
    nodes = [
        node("Cast", ["lengths"], ["m"], to=TensorProto.INT32),
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QAttention", operands, ["u"], domain="com.microsoft", num_heads=2),
        node("MatMul", ["u", "v"], ["y"]),
    ]
    weights = {
        "w": whole(8, 24), "b": drawn(24), "xs": np.float32(0.02), "xz": np.uint8(128),
        "ws": np.float32(0.01), "wz": np.int8(0), "v": drawn(8, 3),
    }  # fmt: skip
    declared: dict[str, Any] = {"x": ["N", 5, 8], "lengths": ["N"]}
    model = model_of(nodes, declared, weights, domains=("com.microsoft",))
    with pytest.raises(ModelError, match=r"QAttention.*a mask of \(batch, keys\)"):
        compile_model(model, options=Options(array_only=True))
