"""Operators that become Conv, Gemm and MatMul compute what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip import Chip
from pimc.data import Dataset
from pimc.golden import golden_model
from pimc.image import Image
from pimc.passes.frontend import load_model
from pimc.passes.lower import Lower
from pimc.passes.recover.distill import DistillOptions
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.simplify import Simplify
from pimc.plan import array_nodes, repeated_layers
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die import Die
from pimc.runtime.executor import Executor
from pimc.runtime.program import program
from pimc.runtime.session import Session
from pimc.runtime.sim import SimDevice
from pimc.runtime.teacher import teacher_array
from pimc.verify import verify

Array = np.ndarray[Any, Any]
node = helper.make_node


def drawn(*shape: int) -> Array:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32) * 0.4


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Any],
    weights: Mapping[str, Any],
    outputs: tuple[str, ...] = ("y",),
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def golden(model: onnx.ModelProto, feed: dict[str, Array]) -> list[Array]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feed)]


def in_float(image: Image, feed: dict[str, Array]) -> list[Array]:
    """The network with the float weights of its layers."""
    executor = Executor(image.graph(), array=teacher_array(image))
    tensors = {name: torch.from_numpy(value) for name, value in feed.items()}
    return [value.numpy() for value in executor.run(tensors).values()]


def compared(model: onnx.ModelProto, tolerance: float = 1e-5, /, **feed: Array) -> Image:
    """Compile, and hold the float layers against ONNX Runtime."""
    image = compile_model(model, Chip.default().with_array(64, 64))
    for ours, wanted in zip(in_float(image, feed), golden(model, feed), strict=True):
        assert ours.shape == wanted.shape
        np.testing.assert_allclose(ours, wanted, rtol=tolerance, atol=tolerance)
    return image


def layers(image: Image) -> list[tuple[str, str, int, int, int]]:
    return [(e.name, e.op, e.groups, e.rows, e.cols) for e in image.layers]


# --- convolutions ------------------------------------------------------------------------------

CONVOLUTIONS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "3-D": ({"pads": [1, 0, 1, 1, 2, 0], "strides": [1, 2, 1]}, (3, 5, 6, 7), (4, 3, 3, 3, 2)),
    "3-D dilated": ({"dilations": [2, 1, 2]}, (2, 6, 5, 6), (4, 2, 2, 3, 2)),
    "3-D groups": ({"group": 2, "auto_pad": "SAME_UPPER"}, (4, 4, 5, 6), (4, 2, 3, 3, 3)),
    "depthwise": ({"group": 4, "pads": [1] * 4}, (4, 6, 6), (8, 1, 3, 3)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case) -> None:
    attributes, size, kernel = CONVOLUTIONS[case]
    model = model_of(
        [node("Conv", ["x", "w", "b"], ["y"], **attributes)],
        {"x": ["N", *size]},
        {"w": drawn(*kernel), "b": drawn(kernel[0])},
    )
    x = drawn(3, *size)
    image = compared(model, x=x)
    calibrated = compile_model(model, Chip.default().with_array(64, 64), calib=x)
    assert verify(calibrated, {"x": x}).ok
    assert verify(image, {"x": x}).ok


TRANSPOSED: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "kernel as wide as its stride": ({"strides": [2, 2]}, (3, 4, 5), (3, 4, 2, 2)),
    "overlapping": (
        {"strides": [2, 1], "pads": [1, 0, 1, 1], "output_padding": [1, 0]},
        (3, 4, 5),
        (3, 4, 3, 3),
    ),
    "groups": ({"group": 2, "strides": [2, 2]}, (4, 4, 4), (4, 3, 3, 3)),
    "stated size": ({"strides": [3], "output_shape": [11]}, (2, 4), (2, 3, 4)),
    "same": ({"strides": [2], "auto_pad": "SAME_UPPER"}, (2, 4), (2, 3, 3)),
    "dilated": ({"dilations": [2, 2]}, (2, 4, 4), (2, 3, 3, 2)),
    "3-D": ({"strides": [1, 2, 2]}, (2, 3, 3, 3), (2, 3, 2, 2, 2)),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolutions(case) -> None:
    attributes, size, kernel = TRANSPOSED[case]
    groups = attributes.get("group", 1)
    model = model_of(
        [node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)],
        {"x": ["N", *size]},
        {"w": drawn(*kernel), "b": drawn(groups * kernel[1])},
    )
    image = compared(model, x=drawn(2, *size))
    columns = kernel[1] * int(np.prod(kernel[2:]))
    assert layers(image) == [("w", "ConvTranspose", groups, kernel[0] // groups, columns)]


# --- products ----------------------------------------------------------------------------------

PRODUCTS: dict[str, tuple[onnx.NodeProto, list[Any], tuple[int, ...], tuple[int, ...]]] = {
    "left": (node("MatMul", ["w", "x"], ["y"]), ["N", 5, 7], (6, 5), (4, 5, 7)),
    "left vector": (node("MatMul", ["w", "x"], ["y"]), ["N", 5, 7], (5,), (4, 5, 7)),
    "right vector": (node("MatMul", ["x", "w"], ["y"]), ["N", 3, 5], (5,), (4, 3, 5)),
    "groups": (node("MatMul", ["x", "w"], ["y"]), ["N", 3, "M", 5], (3, 5, 6), (4, 3, 2, 5)),
    "groups on the left": (
        node("MatMul", ["w", "x"], ["y"]), ["N", 3, 5, "M"], (3, 6, 5), (4, 3, 5, 2),
    ),
    "two groups": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 2, 3, "M", 5], (2, 3, 5, 6), (4, 2, 3, 2, 5),
    ),
    "some groups of one": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 2, "K", "M", 5], (2, 1, 5, 6), (4, 2, 3, 2, 5),
    ),
    "more dimensions than the input": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 5], (3, 5, 6), (4, 5),
    ),
    "a one more than the input": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 5], (1, 5, 6), (4, 5),
    ),
    "transposed input": (node("Gemm", ["x", "w"], ["y"], transA=1), [5, "N"], (5, 6), (5, 4)),
    "transposed Gemm on the left": (
        node("Gemm", ["w", "x"], ["y"], transA=1, transB=1, alpha=0.5), ["N", 5], (5, 6), (4, 5),
    ),
    "Einsum": (
        node("Einsum", ["x", "w"], ["y"], equation="bqhd,hde->bqe"),
        ["N", "Q", 2, 3], (2, 3, 5), (4, 6, 2, 3),
    ),
    "Einsum with groups": (
        node("Einsum", ["w", "x"], ["y"], equation="hde, bhqd"),
        [3, 2, 4, 3], (2, 3, 5), (3, 2, 4, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PRODUCTS)
def test_products(case) -> None:
    product, declared, shape, size = PRODUCTS[case]
    compared(model_of([product], {"x": declared}, {"w": drawn(*shape)}), x=drawn(*size))


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_gemm_keeps_what_it_adds(beta) -> None:
    gemm = node("Gemm", ["w", "x", "c"], ["y"], transA=1, alpha=0.5, beta=beta)
    model = model_of([gemm], {"x": [5, "N"], "c": [6, "N"]}, {"w": drawn(5, 6)})
    compared(model, x=drawn(5, 4), c=drawn(6, 4))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_einsum_of_an_activation_and_a_constant(data) -> None:
    axes = data.draw(st.permutations("abcde"))
    kinds = data.draw(
        st.lists(st.sampled_from(["free", "group", "column"]), min_size=1, max_size=4)
    )
    roles = dict(zip(axes, ["sum", *kinds], strict=False))
    size = {axis: data.draw(st.integers(1, 4)) for axis in roles}
    x = data.draw(st.permutations([a for a, role in roles.items() if role != "column"]))
    w = data.draw(st.permutations([a for a, role in roles.items() if role != "free"]))
    out = data.draw(st.permutations([a for a, role in roles.items() if role != "sum"]))
    equation = f"{''.join(x)},{''.join(w)}->{''.join(out)}"
    values, weight = (
        np.random.default_rng(0).standard_normal([size[a] for a in term]).astype(np.float32)
        for term in (x, w)
    )
    model = model_of(
        [node("Einsum", ["x", "w"], ["y"], equation=equation)],
        {"x": [*values.shape]},
        {"w": weight},
    )
    plan = Lower()(Simplify()(load_model(model)))
    assert "Einsum" not in {entry.op_type for entry in plan.graph.graph}
    (found,) = Executor(plan.graph).run({"x": torch.from_numpy(values)}).values()
    wanted = np.einsum(equation, values, weight)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


# --- recurrent layers --------------------------------------------------------------------------


def recurrent(op: str, direction: str, **attributes: Any) -> onnx.ModelProto:
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
    outputs = ["y", "h", "c"] if op == "LSTM" else ["y", "h"]
    steps = node(
        op, ["x", "w", "r", "b"], outputs, hidden_size=5, direction=direction, **attributes
    )
    shapes = {"w": (ways, gates * 5, 4), "r": (ways, gates * 5, 5), "b": (ways, gates * 10)}
    weights = {name: drawn(*shape) for name, shape in shapes.items()}
    return model_of([steps], {"x": ["T", "N", 4]}, weights, tuple(outputs))


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


def test_other_activations() -> None:
    compared(recurrent("RNN", "forward", activations=["Relu"]), x=drawn(6, 3, 4))


def test_initial_states_and_unused_outputs() -> None:
    lstm = node("LSTM", ["x", "w", "r", "", "", "h0", "c0"], ["", "h"], hidden_size=5)
    model = model_of(
        [lstm],
        {"x": ["T", "N", 4], "h0": [1, "N", 5], "c0": [1, "N", 5]},
        {"w": drawn(1, 20, 4), "r": drawn(1, 20, 5)},
        ("h",),
    )
    compared(model, x=drawn(6, 3, 4), h0=drawn(1, 3, 5), c0=drawn(2, 3, 5)[:1])


# --- quantized elsewhere -----------------------------------------------------------------------


def whole(*shape: int) -> Array:
    values: Array = (drawn(*shape) * 100).round().clip(-127, 127).astype(np.int8)
    return values


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


# --- attention ---------------------------------------------------------------------------------


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


# --- control flow, and layers that are used again ----------------------------------------------


def branching() -> onnx.ModelProto:
    """If the sum is positive through one layer, else through another; then a third."""
    bodies = [
        helper.make_graph(
            [node("MatMul", ["x", weight], [f"out.{weight}"])],
            f"with.{weight}",
            [],
            [helper.make_tensor_value_info(f"out.{weight}", TensorProto.FLOAT, ["N", 4])],
        )
        for weight in ("u", "v")
    ]
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["h"], then_branch=bodies[0], else_branch=bodies[1]),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    weights = {name: drawn(4, 4) + k for k, name in enumerate("uvw")} | {"zero": np.float32(0)}
    return model_of(nodes, {"x": ["N", 4]}, weights)


@pytest.mark.parametrize("sign", [1, -1])
def test_layers_in_bodies(sign) -> None:
    x = sign * np.abs(drawn(5, 4))
    model = branching()
    image = compared(model, x=x)
    assert sorted(layer.name for layer in image.layers) == ["u", "v", "w"]
    assert repeated_layers(image.graph()) == {"u", "v"}
    # Only one branch runs on calibration data; the other gets dynamic ranges.
    calibrated = compile_model(model, Chip.default().with_array(64, 64), calib=x)
    scales = {layer.name: layer.input_scale for layer in calibrated.layers}
    assert (scales["u"] is None, scales["v"] is None) == (sign < 0, sign > 0)
    for held in (image, calibrated):
        (wanted,) = golden(golden_model(held), {"x": x})
        (found,) = Session(held, converters=False).run(None, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def sequence_classifier() -> onnx.ModelProto:
    """(N, 2, 8, 8) as eight steps of a GRU, and its last state through a layer."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[2, 0, 1, 3]),
        node("Reshape", ["t", "shape"], ["steps"]),
        node("GRU", ["steps", "w", "r", "b"], ["", "h"], hidden_size=12, linear_before_reset=1),
        node("Squeeze", ["h", "first"], ["last"]),
        node("MatMul", ["last", "out"], ["y"]),
    ]
    weights = {
        "shape": np.array([8, -1, 16]), "first": np.array([0]), "w": drawn(1, 36, 16),
        "r": drawn(1, 36, 12), "b": drawn(1, 72), "out": drawn(12, 4) * 3,
    }  # fmt: skip
    return model_of(nodes, {"x": ["N", 2, 8, 8]}, weights)


def test_a_recurrent_network_compiles_verifies_and_recovers() -> None:
    x = np.random.default_rng(0).standard_normal((192, 2, 8, 8)).astype(np.float32)
    model = sequence_classifier()
    image = compile_model(model, Chip.default().with_array(64, 32).with_sigma(0.08), calib=x[:64])
    assert repeated_layers(image.graph()) == {"r"}
    assert verify(image, {"x": x[:16]}).ok
    (wanted,) = golden(model, {"x": x[128:]})
    (ideal,) = Session(image).run(None, {"x": x[128:]})
    device = SimDevice(Die.simulated(2), image.chip, image.arrays, read_seed=2)
    program(image, device)

    def away(held: Image, device: SimDevice) -> float:
        (found,) = Session(held, device).run(None, {"x": x[128:]})
        return float(((found - wanted) ** 2).mean() / wanted.var())

    assert float(((ideal - wanted) ** 2).mean() / wanted.var()) < 0.1
    before = away(image, device)
    options = RecoverOptions(
        budget=0.2,
        rounds=1,
        capture=CaptureOptions(vectors=128, repeats=2, images=32),
        distill=DistillOptions(epochs=2, batch_size=16),
    )
    recovery = recover(image, device, Dataset.of(x[:128]), options)
    assert away(recovery.image, device) < 0.5 * before


def test_a_tied_layer_recovers() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w"], ["c"], pads=[1] * 4),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "out"], ["y"]),
    ]
    weights = {"w": drawn(2, 2, 3, 3), "out": drawn(2, 4)}
    model = model_of(nodes, {"x": ["N", 2, 8, 8]}, weights)
    x = np.random.default_rng(1).standard_normal((128, 2, 8, 8)).astype(np.float32)
    image = compile_model(model, Chip.default().with_array(32, 16).with_sigma(0.08), calib=x[:64])
    assert [layer.name for layer in image.layers] == ["w", "out"]
    assert len(array_nodes(image.graph())) == 3
    assert verify(image, {"x": x[:16]}).ok
    device = SimDevice(Die.simulated(4), image.chip, image.arrays, read_seed=2)
    program(image, device)
    (wanted,) = golden(model, {"x": x})
    options = RecoverOptions(rounds=1, budget=0.3, distill=DistillOptions(epochs=1, batch_size=16))
    recovery = recover(image, device, Dataset.of(x), options)
    first, last = recovery.stages[0], min(recovery.stages, key=lambda stage: stage.loss)
    assert last.loss < 0.5 * first.loss
    (found,) = Session(recovery.image, device).run(None, {"x": x})
    assert float(((found - wanted) ** 2).mean() / wanted.var()) < 0.1
