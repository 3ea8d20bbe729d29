"""Operators that become Conv, Gemm and MatMul compute what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
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
)

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


#: Activations with parameters, those stated and those not.
PARAMETRIC: list[dict[str, Any]] = [
    {"activations": ["HardSigmoid", "Tanh"]},
    {
        "activations": ["HardSigmoid", "ScaledTanh"],
        "activation_alpha": [0.3, 0.7],
        "activation_beta": [0.4, 1.3],
    },
    {
        "activations": ["Affine", "LeakyRelu"],
        "activation_alpha": [0.2, 0.1],
        "activation_beta": [0.3],
    },
    {"activations": ["Sigmoid", "Elu"], "activation_alpha": [0.6]},
    {"activations": ["Sigmoid", "ThresholdedRelu"], "activation_alpha": [0.1]},
]


@pytest.mark.parametrize("stated", PARAMETRIC, ids=lambda stated: "-".join(stated["activations"]))
def test_activations_with_parameters(stated: dict[str, Any]) -> None:
    compared(recurrent("GRU", "forward", **stated), x=drawn(6, 3, 4))


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


# --- weights of few bits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "rows", "block", "zeros"),
    [
        (4, 64, 32, "middle"),
        (4, 72, 16, "packed"),
        (4, 72, 16, "numbers"),
        (2, 64, 32, "middle"),
        (2, 72, 16, "packed"),
        (8, 40, 32, "middle"),
        (8, 40, 32, "packed"),
    ],
)
def test_products_with_weights_of_few_bits(bits, rows, block, zeros) -> None:
    rng, cols, count = np.random.default_rng(0), 6, -(-rows // block)
    packed = {
        "w": rng.integers(0, 256, (cols, count, block * bits // 8), np.uint8),
        "s": np.abs(drawn(cols, count)) + np.float32(0.1),
        "b": drawn(cols),
    }
    if zeros == "packed":
        packed["z"] = rng.integers(0, 256, (cols, -(-count * bits // 8)), np.uint8)
    elif zeros == "numbers":
        packed["z"] = drawn(cols, count) + np.float32(2 ** (bits - 1))
    inputs = ["x", "w", "s", "z" if "z" in packed else "", "", "b"]
    numbers = {"K": rows, "N": cols, "bits": bits, "block_size": block}
    nodes = [node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **numbers)]
    model = model_of(nodes, {"x": ["N", 3, rows]}, packed, domains=("com.microsoft",))
    image = compared(model, x=drawn(2, 3, rows))
    assert layers(image) == [("w", "MatMulNBits", 1, rows, cols)]


def test_products_with_weights_of_few_bits_in_float16() -> None:
    rng, rows, cols, count = np.random.default_rng(0), 72, 6, 5
    weights = {
        "w": rng.integers(0, 256, (cols, count, 8), np.uint8),
        "s": (np.abs(drawn(cols, count)) + 0.1).astype(np.float16),
    }
    numbers: dict[str, Any] = {"K": rows, "N": cols, "bits": 4, "block_size": 16}
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("MatMulNBits", ["h", "w", "s"], ["v"], domain="com.microsoft", **numbers),
        node("Cast", ["v"], ["y"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": ["N", 3, rows]}, weights, domains=("com.microsoft",))
    image = compared(model, 0.02, x=drawn(2, 3, rows))
    assert layers(image) == [("w", "MatMulNBits", 1, rows, cols)]


# --- attention ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("past", [0, 3])
def test_attention_that_looks_back(past, masked) -> None:
    """One token after the other, with the keys and values of those before."""
    inputs = ["x", "w", "b", "m" if masked else "", "p" if past else ""]
    nodes = [
        node(
            "Attention",
            inputs,
            ["y", "q"],
            num_heads=2,
            unidirectional=1,
            domain="com.microsoft",
        ),
    ]
    declared: dict[str, Any] = {"x": ["N", 5, 8]}
    feed = {"x": drawn(3, 5, 8)}
    if masked:
        nodes.insert(0, node("Cast", ["keys"], ["m"], to=TensorProto.INT32))
        declared["keys"] = ["N", 5 + past]
        feed["keys"] = np.tri(3, 5 + past, past + 2, np.float32)
    if past:
        declared["p"] = [2, "N", 2, past, 4]
        feed["p"] = drawn(2, 3, 2, past, 4)
    weights = {"w": drawn(8, 24), "b": drawn(24)}
    model = model_of(nodes, declared, weights, ("y", "q"), domains=("com.microsoft",))
    image = compared(model, **feed)
    assert layers(image) == [("w", "Attention", 1, 8, 24)]


def test_attention_in_float16() -> None:
    half = TensorProto.FLOAT16
    attributes: dict[str, Any] = {"num_heads": 2, "unidirectional": 1, "domain": "com.microsoft"}
    nodes = [
        node("Cast", ["x"], ["h"], to=half),
        node("Cast", ["p"], ["past"], to=half),
        node("Attention", ["h", "w", "b", "", "past"], ["u", "v"], **attributes),
        node("Cast", ["u"], ["y"], to=TensorProto.FLOAT),
        node("Cast", ["v"], ["q"], to=TensorProto.FLOAT),
    ]
    weights = {"w": drawn(8, 24).astype(np.float16), "b": drawn(24).astype(np.float16)}
    declared = {"x": ["N", 5, 8], "p": [2, "N", 2, 3, 4]}
    model = model_of(nodes, declared, weights, ("y", "q"), domains=("com.microsoft",))
    image = compared(model, 4e-3, x=drawn(3, 5, 8), p=drawn(2, 3, 2, 3, 4))
    assert layers(image) == [("w", "Attention", 1, 8, 24)]


@pytest.mark.parametrize("hidden", [-10000.0, -3.4028e38])
def test_attention_over_sentences_padded_on_the_left(hidden) -> None:
    """The first queries see padding alone."""
    nodes = [
        node("Cast", ["keys"], ["m"], to=TensorProto.INT32),
        node(
            "Attention",
            ["x", "w", "b", "m"],
            ["y"],
            num_heads=2,
            unidirectional=1,
            mask_filter_value=hidden,
            domain="com.microsoft",
        ),
    ]
    declared = {"x": ["N", 5, 8], "keys": ["N", 5]}
    weights = {"w": drawn(8, 24), "b": drawn(24)}
    model = model_of(nodes, declared, weights, domains=("com.microsoft",))
    keys = np.ones((3, 5), np.float32)
    keys[0, :1], keys[1, :3] = 0, 0
    compared(model, x=drawn(3, 5, 8), keys=keys)


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
