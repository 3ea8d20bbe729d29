"""Operators one by one, where the node suite of ONNX has no case of its own.

ONNX Runtime is the oracle; gradients are checked against finite differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from pimc.errors import ModelError
from pimc.runtime.graph.executor import Executor
from pimc.runtime.ops import lookup
from pimc.runtime.ops.values import to_numpy


def single(
    op_type: str, inputs: list[np.ndarray | None], opset: int = 18, /, **attributes: Any
) -> onnx.ModelProto:
    """A model of one node with as many outputs as the operator has at least."""
    names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in zip(names, inputs, strict=True)
        if array is not None
    ]
    n_outputs = attributes.pop("n_outputs", 1)
    outputs = [f"o{k}" for k in range(n_outputs)]
    node = helper.make_node(op_type, names, outputs, **attributes)
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name=n) for n in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    return model


def both(model: onnx.ModelProto, inputs: list[np.ndarray | None]) -> list[tuple[Any, Any]]:
    """(ours, ONNX Runtime's) for every output."""
    feeds = {f"i{k}": a for k, a in enumerate(inputs) if a is not None}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    theirs = session.run(None, feeds)
    results = Executor(ir.from_proto(model)).run({n: torch.from_numpy(a) for n, a in feeds.items()})
    ours = [to_numpy(results[value.name]) for value in model.graph.output]
    return list(zip(ours, theirs, strict=True))


def check(model: onnx.ModelProto, inputs: list[np.ndarray | None], tolerance: float = 1e-5) -> None:
    for ours, theirs in both(model, inputs):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    begin=st.integers(0, 2),
    end=st.integers(0, 2),
    group=st.sampled_from([1, 2, 4]),
    rank=st.sampled_from([1, 2]),
)
def test_convolution_in_all_its_forms(
    kernel: int, stride: int, dilation: int, begin: int, end: int, group: int, rank: int
) -> None:
    inputs: list[np.ndarray | None] = [
        normal(2, 4, *[9, 8][:rank]),
        normal(8, 4 // group, *[kernel] * rank, seed=1),
        normal(8, seed=2),
    ]
    attributes = {
        "strides": [stride] * rank,
        "dilations": [dilation] * rank,
        "pads": [begin] * rank + [end] * rank,
        "group": group,
    }
    check(single("Conv", inputs, **attributes), inputs, 1e-4)


@settings(max_examples=40, deadline=None)
@given(
    operator=st.sampled_from(["MaxPool", "AveragePool"]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    begin=st.integers(0, 1),
    end=st.integers(0, 1),
    ceil=st.booleans(),
    include=st.booleans(),
)
def test_pooling_in_all_its_forms(
    operator: str, kernel: int, stride: int, begin: int, end: int, ceil: bool, include: bool
) -> None:
    begin, end = min(begin, kernel - 1), min(end, kernel - 1)
    inputs: list[np.ndarray | None] = [normal(2, 3, 7, 8)]
    attributes: dict[str, Any] = {
        "kernel_shape": [kernel, kernel],
        "strides": [stride, stride],
        "pads": [begin, begin, end, end],
        "ceil_mode": int(ceil),
    }
    if operator == "AveragePool":
        attributes["count_include_pad"] = int(include)
    check(single(operator, inputs, 19, **attributes), inputs)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
def test_automatic_padding(operator: str, stride: int, auto_pad: str) -> None:
    inputs: list[np.ndarray | None] = [normal(1, 2, 7, 6)]
    attributes: dict[str, Any] = {"auto_pad": auto_pad, "strides": [stride, stride]}
    if operator == "Conv":
        inputs.append(normal(3, 2, 4, 3, seed=1))
    attributes["kernel_shape"] = [4, 3]
    check(single(operator, inputs, **attributes), inputs)


@settings(max_examples=30, deadline=None)
@given(
    stride=st.integers(1, 3),
    begin=st.integers(0, 1),
    end=st.integers(0, 1),
    extra=st.integers(0, 1),
    group=st.sampled_from([1, 2]),
)
def test_transposed_convolution(stride: int, begin: int, end: int, extra: int, group: int) -> None:
    extra = min(extra, stride - 1)
    inputs: list[np.ndarray | None] = [
        normal(2, 4, 5, 4),
        normal(4, 3, 3, 3, seed=1),
        normal(3 * group, seed=2),
    ]
    attributes = {
        "strides": [stride, stride],
        "pads": [begin, begin, end, end],
        "output_padding": [extra, extra],
        "group": group,
    }
    check(single("ConvTranspose", inputs, **attributes), inputs, 1e-4)


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_with_lengths_and_states(
    operator: str, gates: int, direction: str
) -> None:
    n, hidden = (2 if direction == "bidirectional" else 1), 5
    inputs: list[np.ndarray | None] = [
        normal(4, 3, 6),
        normal(n, gates * hidden, 6, seed=1),
        normal(n, gates * hidden, hidden, seed=2),
        normal(n, 2 * gates * hidden, seed=3),
        np.array([4, 2, 3], np.int32),
        normal(n, 3, hidden, seed=4),
    ]
    if operator == "LSTM":
        inputs.append(normal(n, 3, hidden, seed=5))
    model = single(
        operator,
        inputs,
        14,
        hidden_size=hidden,
        direction=direction,
        n_outputs=3 if operator == "LSTM" else 2,
    )
    check(model, inputs)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
)
@pytest.mark.parametrize("sizes", [(1, 2, 9, 11), (1, 2, 4, 3)])
def test_resampling(mode: str, coordinates: str, sizes: tuple[int, ...]) -> None:
    x = normal(1, 2, 6, 7)
    inputs: list[np.ndarray | None] = [x, None, None, np.array(sizes)]
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    check(single("Resize", inputs, 13, **attributes), inputs)


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
def test_before_opset_13_softmax_runs_over_all_later_axes(operator: str, opset: int) -> None:
    inputs: list[np.ndarray | None] = [normal(2, 3, 4)]
    check(single(operator, inputs, opset), inputs)


@pytest.mark.parametrize(
    ("operator", "opset", "inputs", "attributes"),
    [
        ("Slice", 9, [normal(4, 5)], {"starts": [1, -2], "ends": [9, 5], "axes": [0, 1]}),
        ("Squeeze", 11, [normal(1, 3, 1)], {"axes": [0, -1]}),
        ("Unsqueeze", 11, [normal(3)], {"axes": [0, 2]}),
        ("Clip", 6, [normal(5)], {"min": -0.5, "max": 0.5}),
        ("Pad", 10, [normal(2, 3)], {"pads": [1, 0, 0, 2], "value": 7.0}),
        ("Split", 11, [normal(5, 2)], {"split": [2, 3], "n_outputs": 2}),
        ("ReduceSum", 11, [normal(2, 3, 4)], {"axes": [0, -1], "keepdims": 0}),
        ("ReduceMean", 13, [normal(2, 3, 4)], {"axes": [1]}),
        ("BatchNormalization", 9, [normal(2, 3, 4), *[np.abs(normal(3)) + 1] * 4], {}),
        ("Dropout", 10, [normal(3)], {}),
        ("DFT", 17, [normal(1, 8, 1)], {"axis": 1}),
    ],
)
def test_older_forms_of_operators(
    operator: str, opset: int, inputs: list[np.ndarray | None], attributes: dict[str, Any]
) -> None:
    assert lookup("", operator, opset) is not None
    check(single(operator, inputs, opset, **attributes), inputs)


@pytest.mark.parametrize("steps", [(1, 1), (-1, 2), (-2, -1), (3, -3)])
@pytest.mark.parametrize("limits", [(0, 100), (-100, 100), (100, -100), (-2, 1), (2, -1)])
def test_slices_like_numpy(steps: tuple[int, int], limits: tuple[int, int]) -> None:
    inputs: list[np.ndarray | None] = [
        normal(5, 7),
        np.array([limits[0], limits[1]]),
        np.array([limits[1], limits[0]]),
        np.array([0, -1]),
        np.array(steps),
    ]
    check(single("Slice", inputs), inputs)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_modes(mode: str) -> None:
    inputs: list[np.ndarray | None] = [normal(3, 4, 5), np.array([0, 2, 1, 0, 1, 3])]
    check(single("Pad", inputs, 19, mode=mode), inputs)


def test_normalisation_of_single_elements() -> None:
    one, scale = np.ones((1, 2, 1), np.float32), np.full(2, 3.0, np.float32)
    inputs: list[np.ndarray | None] = [one, scale, scale]
    check(single("InstanceNormalization", inputs), inputs)
    model = single("GroupNormalization", inputs, 21, num_groups=2)
    result = Executor(ir.from_proto(model)).run(
        {"i0": torch.from_numpy(one), "i1": torch.from_numpy(scale), "i2": torch.from_numpy(scale)}
    )
    assert result["o0"].reshape(-1).tolist() == [3.0, 3.0]


def test_squeezing_a_long_axis_is_an_error() -> None:
    model = single("Squeeze", [normal(2, 3), np.array([0])])
    with pytest.raises(ModelError, match="axis 0"):
        Executor(ir.from_proto(model)).run({"i0": torch.ones(2, 3), "i1": torch.tensor([0])})


@pytest.mark.parametrize("shape", [(2, 0, 3), (0,)])
def test_reductions_of_nothing(shape: tuple[int, ...]) -> None:
    for operator, expected in [("ReduceMax", -np.inf), ("ReduceMin", np.inf), ("ReduceSum", 0.0)]:
        model = single(operator, [np.zeros(shape, np.float32)], 20)
        result = Executor(ir.from_proto(model)).run({"i0": torch.zeros(shape)})["o0"]
        assert result.reshape(-1).tolist() == [expected]


_DIFFERENTIABLE: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "Add": ([(2, 3), (3,)], {}),
    "Sub": ([(2, 3), (2, 1)], {}),
    "Mul": ([(2, 3), (3,)], {}),
    "MatMul": ([(2, 3), (3, 4)], {}),
    "Gemm": ([(3, 2), (3, 4), (4,)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    "Conv": ([(1, 2, 4, 4), (3, 2, 3, 3), (3,)], {"pads": [1, 0, 0, 1]}),
    "ConvTranspose": ([(1, 2, 3, 3), (2, 3, 2, 2)], {"strides": [2, 2]}),
    "MaxPool": ([(1, 2, 5, 5)], {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1] * 4}),
    "AveragePool": ([(1, 2, 5, 5)], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "LayerNormalization": ([(3, 4), (4,), (4,)], {}),
    "InstanceNormalization": ([(2, 3, 4), (3,), (3,)], {}),
    "LRN": ([(1, 5, 2, 2)], {"size": 3}),
    "Sigmoid": ([(4,)], {}),
    "Tanh": ([(4,)], {}),
    "Erf": ([(4,)], {}),
    "Softplus": ([(4,)], {}),
    "HardSwish": ([(4,)], {}),
    "Mish": ([(4,)], {}),
    "Elu": ([(4,)], {"alpha": 0.7}),
    "Selu": ([(4,)], {}),
    "PRelu": ([(2, 3), (3,)], {}),
    "Softmax": ([(2, 4)], {}),
    "LogSoftmax": ([(2, 4)], {"axis": 0}),
    "ReduceL2": ([(2, 4)], {}),
    "ReduceLogSumExp": ([(2, 4)], {}),
    "ReduceMean": ([(2, 4)], {"keepdims": 0}),
    "Einsum": ([(2, 3), (3, 4)], {"equation": "ij, jk -> ik"}),
    "LSTM": ([(2, 1, 3), (1, 8, 3), (1, 8, 2)], {"hidden_size": 2}),
    "GRU": ([(2, 1, 3), (1, 6, 3), (1, 6, 2)], {"hidden_size": 2}),
    "Concat": ([(2, 3), (1, 3)], {"axis": 0}),
    "Transpose": ([(2, 3)], {}),
    "LpNormalization": ([(2, 4)], {}),
}


@pytest.mark.parametrize("operator", sorted(_DIFFERENTIABLE))
def test_gradients_against_finite_differences(operator: str) -> None:
    shapes, attributes = _DIFFERENTIABLE[operator]
    arrays: list[np.ndarray | None] = [normal(*s, seed=k) for k, s in enumerate(shapes)]
    model = single(operator, arrays, 18, **attributes)
    executor = Executor(ir.from_proto(model), dtype=torch.float64)
    assert executor.gradient_breaks(["i0"]) == []

    def outputs(*tensors: torch.Tensor) -> torch.Tensor:
        return executor.run({f"i{k}": t for k, t in enumerate(tensors)})["o0"]

    tensors = tuple(torch.from_numpy(a).double().requires_grad_() for a in arrays if a is not None)
    assert torch.autograd.gradcheck(outputs, tensors)


@pytest.mark.parametrize("zero_point", [None, np.uint8(3), np.int8(-4)])
def test_quantisation_round_trip(zero_point: Any) -> None:
    x = np.array([-1000.0, -1.26, -0.25, 0.0, 0.25, 0.75, 1000.0], np.float32)
    inputs: list[np.ndarray | None] = [x, np.array(0.5, np.float32)]
    if zero_point is not None:
        inputs.append(np.array(zero_point))
    model = single("QuantizeLinear", inputs, 13)
    check(model, inputs)
    codes = both(model, inputs)[0][0]
    inputs = [codes, *inputs[1:]]
    check(single("DequantizeLinear", inputs, 13), inputs)


def test_quantised_convolution_per_channel() -> None:
    rng = np.random.default_rng(0)
    inputs: list[np.ndarray | None] = [
        rng.integers(0, 255, (1, 2, 5, 5)).astype(np.uint8),
        np.array(0.02, np.float32),
        np.array(120, np.uint8),
        # Seven bits: without VNNI instructions ONNX Runtime's 16-bit sums saturate beyond.
        rng.integers(-63, 64, (3, 2, 3, 3)).astype(np.int8),
        np.array([0.02, 0.04, 0.06], np.float32),
        np.zeros(3, np.int8),
        np.array(0.11, np.float32),
        np.array(100, np.uint8),
        rng.integers(-500, 500, 3).astype(np.int32),
    ]
    model = single("QLinearConv", inputs, 10, pads=[1, 1, 1, 1])
    ours, theirs = both(model, inputs)[0]
    # both round a float product: a tie may fall on either side
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    assert (ours != theirs).mean() < 0.02


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("output_shape", [[7, 8], [8, 9], [8, 10]])
def test_transposed_convolution_to_a_given_shape(auto_pad: str, output_shape: list[int]) -> None:
    inputs: list[np.ndarray | None] = [normal(1, 1, 4, 5), normal(1, 2, 3, 3, seed=1)]
    attributes = {"strides": [2, 2], "auto_pad": auto_pad, "output_shape": output_shape}
    check(single("ConvTranspose", inputs, 18, **attributes), inputs)


@pytest.mark.parametrize("shape", [[], [2], [2, 3]])
@pytest.mark.parametrize("value", [None, np.array([7]), np.array([2.5], np.float32)])
def test_a_constant_of_any_shape(shape: list[int], value: np.ndarray | None) -> None:
    inputs: list[np.ndarray | None] = [np.array(shape, np.int64)]
    attributes = {} if value is None else {"value": onnx.numpy_helper.from_array(value)}
    check(single("ConstantOfShape", inputs, 18, **attributes), inputs)


def test_the_sign_of_everything() -> None:
    floats = np.array([np.nan, -np.inf, -2.0, -0.0, 0.0, 3.0, np.inf], np.float32)
    for values in (floats, np.array([-5, 0, 9])):
        inputs: list[np.ndarray | None] = [values]
        check(single("Sign", inputs), inputs)


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.6, 0.7, 1.1, 1.7, 2.2, 1 / 3])
def test_the_length_after_resizing_by_a_fraction(scale: float) -> None:
    for length in (10, 20, 30):
        x = normal(1, 1, length, 1)
        scales = np.array([1, 1, scale, 1], np.float32)
        model = single("Resize", [x, None, scales], 19, mode="nearest")
        model.graph.node[0].input[1] = ""
        ((ours, theirs),) = both(model, [x, None, scales])
        assert ours.shape == theirs.shape
