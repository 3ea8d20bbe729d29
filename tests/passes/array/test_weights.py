"""Weights of Conv, Gemm and MatMul become matrices, whatever form they are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pimc.plan.records import DOMAIN, Plan

Array = np.ndarray[Any, Any]

Shape = list[int | str]


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def digital_ops(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.graph.graph if node.domain != DOMAIN]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.NodeProto, Shape, dict[str, Array], Array]:
    """A node, the shape its input declares, its weights and an input."""
    rank = draw(st.sampled_from([1, 2]))
    groups = draw(st.integers(1, 3))
    channels, outputs = draw(st.integers(1, 3)) * groups, draw(st.integers(1, 3)) * groups

    def each(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, strides = each(1, 3), each(1, 3)
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    # ONNX Runtime refuses dilations together with SAME.
    dilations = [1] * rank if auto_pad.startswith("SAME") else each(1, 2)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    if auto_pad == "NOTSET":
        attributes["pads"] = each(0, 2, 2 * rank)
    else:
        attributes["auto_pad"] = auto_pad
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    for name in draw(st.sets(st.sampled_from(["strides", "dilations", "group", "pads"]))):
        default = 1 if name == "group" else None
        if groups == 1 or default is None:
            attributes.pop(name, None)
    size = each(5, 9)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    weights = {"w": rng.standard_normal((outputs, channels // groups, *kernel))}
    if draw(st.booleans()):
        weights["b"] = rng.standard_normal(outputs)
    node = helper.make_node("Conv", ["x", *weights], ["y"], name="c1", **attributes)
    dims: Shape = ["N", channels, *(["W", "H"][:rank] if draw(st.booleans()) else size)]
    x = rng.standard_normal((draw(st.integers(1, 3)), channels, *size)).astype(np.float32)
    return node, dims, weights, x


@settings(max_examples=80, deadline=None)
@given(convolutions())
def test_any_convolution_is_rebuilt_from_its_layer(
    net, check, case: tuple[onnx.NodeProto, Shape, dict[str, Array], Array]
) -> None:
    node, dims, weights, x = case
    plan = check(net([node], {"x": dims}, weights), x=x)
    assert digital_ops(plan) == []
    (layer,) = plan.layers
    assert layer.weight.shape == (layer.groups, layer.rows, layer.cols)
    assert layer.weight.numpy().dtype == layer.bias.dtype == np.float32
    assert plan.provenance[layer.name] == {"op": "Conv", "node": "c1", "output": "y", "weight": "w"}


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.sampled_from([1.0, 0.5, -2.0]),
    beta=st.sampled_from([1.0, 0.25, 0.0]),
    transposed=st.booleans(),
    c_shape=st.sampled_from([None, (), (1,), (5,), (1, 5), (1, 1), (3, 1), (3, 5)]),
    c_constant=st.booleans(),
)
def test_gemm_variants(
    net,
    check,
    alpha: float,
    beta: float,
    transposed: bool,
    c_shape: tuple[int, ...] | None,
    c_constant: bool,
) -> None:
    operands = ["x", "w"] + ([] if c_shape is None else ["c"])
    node = helper.make_node("Gemm", operands, ["y"], alpha=alpha, beta=beta, transB=int(transposed))
    weights = {"w": normal(5, 4) if transposed else normal(4, 5)}
    inputs: dict[str, Shape] = {"x": ["M", 4]}
    feed = {"x": normal(3, 4).astype(np.float32)}
    if c_shape is not None and c_constant:
        weights["c"] = normal(*c_shape)
    elif c_shape is not None:
        inputs["c"], feed["c"] = list(c_shape), normal(*c_shape).astype(np.float32)
    plan = check(net([node], inputs, weights), **feed)
    vector = c_shape is None or beta == 0 or (c_constant and 3 not in c_shape)
    assert ("Add" in digital_ops(plan)) != vector


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype", "tolerance"),
    [
        (TensorProto.FLOAT16, np.float16, 2e-2),
        (TensorProto.DOUBLE, np.float64, 1e-5),
    ],
)
def test_other_float_types_keep_the_types_of_the_graph(
    net, check, dtype: int, numpy_dtype: type[np.generic], tolerance: float
) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], ["h"], beta=0.5),
        helper.make_node("MatMul", ["h", "v"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["y"]),
    ]
    w, v, b = normal(4, 5), normal(5, 3), normal(3)
    weights = {"w": w.astype(numpy_dtype), "v": v.astype(numpy_dtype), "b": b.astype(numpy_dtype)}
    inputs: dict[str, Shape] = {"x": ["N", 4], "c": ["N", 5]}
    # numpy_helper keeps the type; net() converts nothing but float64 given by name
    model = net(nodes, inputs, {}, dtype=dtype)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items())
    x, c = normal(3, 4).astype(numpy_dtype), normal(3, 5).astype(numpy_dtype)
    plan = check(model, tolerance, x=x, c=c)
    assert len(plan.layers) == 2
    assert all(layer.weight.numpy().dtype == np.float32 for layer in plan.layers)


def test_bfloat16_weights_become_float32(net, compiled) -> None:
    weight = normal(4, 5).astype(ml_dtypes.bfloat16)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = net([node], {"x": ["N", 4]}, {"w": weight}, dtype=TensorProto.BFLOAT16)
    plan = compiled(model)
    np.testing.assert_array_equal(plan.layers[0].weight[0], weight.astype(np.float32))
    types = [node.outputs[0].dtype for node in plan.graph.graph]
    assert types == [ir.DataType.FLOAT, ir.DataType.FLOAT, ir.DataType.BFLOAT16]


def test_external_data(net, check, tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    weight = normal(8, 4, 3, 3)
    path = tmp_path / "net.onnx"
    model = net([node], {"x": ["N", 4, 6, 6]}, {"w": weight})
    x = normal(2, 4, 6, 6).astype(np.float32)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    check(path, x=x)


def test_a_weight_with_leading_ones_is_a_matrix(net, check) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["h"])
    add = helper.make_node("Add", ["h", "b"], ["y"])
    model = net([node, add], {"x": ["N", 3, 4]}, {"w": normal(1, 4, 5), "b": normal(5)})
    plan = check(model, x=normal(2, 3, 4).astype(np.float32))
    assert [layer.weight.shape for layer in plan.layers] == [(1, 4, 5)]
    assert digital_ops(plan) == []
