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
from pimc.passes.array.judge import classify
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.runtime.graph.executor import Executor
from pimc.studies.verify import verify
from tests.passes.lowered_nets import (
    compared,
    drawn,
    layers,
    model_of,
    node,
    whole,
)

# --- quantized elsewhere -----------------------------------------------------------------------


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


# --- products of codes -------------------------------------------------------------------------


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


# --- quantizers of ONNX Runtime's own ----------------------------------------------------------


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


# --- from codes to codes -----------------------------------------------------------------------


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
