"""Partition: the layers and the digital rest compute what ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from pimc.errors import ModelError
from pimc.passes.constraints import classify, ops_markdown, ops_table
from pimc.passes.frontend import load_model
from pimc.passes.nonneg import rules_markdown
from pimc.passes.partition import Partition
from pimc.passes.simplify import Simplify
from pimc.plan import ARRAY_OP, DOMAIN, Layer, Plan, Window

ROOT = Path(__file__).parents[2]
RESNET = ROOT.parent / "shared" / "data" / "cifar10" / "resnet20.onnx"

Array = np.ndarray[Any, Any]
Shape = list[int | str]


def net(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    weights: dict[str, Array],
    *,
    outputs: tuple[str, ...] = ("y",),
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [
            numpy_helper.from_array(a.astype(np.float32) if a.dtype == float else a, name)
            for name, a in weights.items()
        ],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def compiled(model: onnx.ModelProto | Path, digital: tuple[str, ...] = ()) -> Plan:
    return Partition(digital)(Simplify()(load_model(model)))


def vectors(x: Array, window: Window) -> Array:
    """Input vectors (batch, channels, kernel elements, positions), by plain indexing."""
    spatial = x.shape[2:]
    pads, rank = window.resolved_pads(spatial), len(spatial)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    steps = [
        (size - r) // s + 1 for size, r, s in zip(x.shape[2:], reach, window.strides, strict=True)
    ]
    columns = []
    for offset in np.ndindex(*window.kernel):
        slices = tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, n, s in zip(offset, window.dilations, steps, window.strides, strict=True)
        )
        columns.append(x[(slice(None), slice(None), *slices)])
    return np.stack(columns, axis=2).reshape(*x.shape[:2], len(columns), *steps)


def apply(layer: Layer, x: Array) -> Array:
    """What an ideal array computes for ``layer``."""
    if layer.window is None:
        return np.asarray(x @ layer.weight[0] + layer.bias, np.float32)
    cut = vectors(x, layer.window)
    batch, positions = x.shape[0], cut.shape[3:]
    grouped = cut.reshape(batch, layer.groups, layer.rows, -1)
    product = np.einsum("bgkp,gkn->bgnp", grouped, layer.weight)
    product = product.reshape(batch, layer.groups * layer.cols, -1) + layer.bias[:, None]
    return np.asarray(product.reshape(batch, -1, *positions), np.float32)


def run_plan(plan: Plan, inputs: dict[str, Array]) -> list[Array]:
    """Outputs of the partitioned graph, its array nodes computed from the layers."""
    layers = {layer.name: layer for layer in plan.layers}

    class ArrayNode(OpRun):  # type: ignore[misc]
        op_domain = DOMAIN

        def _run(self, x: Array, layer: str | None = None) -> tuple[Array]:
            assert x.dtype == np.float32
            return (apply(layers[layer or ""], x),)

    ArrayNode.__name__ = ARRAY_OP
    evaluator = ReferenceEvaluator(ir.to_proto(plan.graph), new_ops=[ArrayNode])
    return list(evaluator.run(None, inputs))


def run_onnxruntime(model: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    return [np.asarray(result) for result in session.run(None, inputs)]


def check(model: onnx.ModelProto, tolerance: float = 1e-4, **inputs: Array) -> Plan:
    """Compile ``model`` and compare its outputs with ONNX Runtime's; returns the plan."""
    plan = compiled(model)
    expected = run_onnxruntime(model, inputs)
    for left, right in zip(expected, run_plan(plan, inputs), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance)
    names = [node.attributes.get_string("layer") for node in array_nodes(plan)]
    assert sorted(names, key=str) == sorted(layer.name for layer in plan.layers)
    assert len(set(names)) == len(names)
    outputs = {node.outputs[0].name for node in array_nodes(plan)}
    assert outputs == {layer.output for layer in plan.layers}
    return plan


def array_nodes(plan: Plan) -> list[ir.Node]:
    return [node for node in plan.graph.graph if node.domain == DOMAIN]


def digital_ops(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.graph.graph if node.domain != DOMAIN]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, Array]:
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
    return net([node], {"x": dims}, weights), x


@settings(max_examples=80, deadline=None)
@given(convolutions())
def test_any_convolution_is_rebuilt_from_its_layer(case: tuple[onnx.ModelProto, Array]) -> None:
    model, x = case
    plan = check(model, x=x)
    assert digital_ops(plan) == []
    (layer,) = plan.layers
    assert layer.weight.shape == (layer.groups, layer.rows, layer.cols)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
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


@pytest.mark.parametrize("x_shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("bias_shape", [None, (), (1,), (5,), (1, 5), (2, 1, 1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_matmul_takes_a_following_bias(
    x_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None, swapped: bool
) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="fc")]
    weights = {"w": normal(4, 5)}
    if bias_shape is not None:
        weights["b"] = normal(*bias_shape)
        nodes.append(helper.make_node("Add", ["b", "h"] if swapped else ["h", "b"], ["y"]))
    output = "h" if bias_shape is None else "y"
    model = net(nodes, {"x": list(x_shape)}, weights, outputs=(output,))
    plan = check(model, x=normal(*x_shape).astype(np.float32))
    fused = bias_shape is None or (
        len(bias_shape) <= len(x_shape) and all(dim == 1 for dim in bias_shape[:-1])
    )
    assert digital_ops(plan) == ([] if fused else ["Add"])
    (layer,) = plan.layers
    assert layer.output == (output if fused else "h")
    assert plan.provenance["w"] == {"op": "MatMul", "node": "fc", "output": "h", "weight": "w"}


@pytest.mark.parametrize("bias_shape", [(4, 1, 1), (1, 4, 1, 1), (), (4,), (4, 4, 4)])
def test_conv_takes_a_following_bias_along_channels_only(bias_shape: tuple[int, ...]) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 2, 6, 6]}, {"w": normal(4, 2, 3, 3), "b": normal(*bias_shape)})
    plan = check(model, x=normal(2, 2, 6, 6).astype(np.float32))
    fused = bias_shape in [(4, 1, 1), (1, 4, 1, 1), ()]
    assert digital_ops(plan) == ([] if fused else ["Add"])


def test_a_bias_is_not_taken_from_a_value_others_read() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("Mul", ["h", "s"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 5), "b": normal(5)})
    assert digital_ops(check(model, x=normal(3, 4).astype(np.float32))) == ["Add", "Mul"]
    with_output = net(
        nodes[:2], {"x": ["N", 4]}, {"w": normal(4, 5), "b": normal(5)}, outputs=("h", "s")
    )
    assert digital_ops(check(with_output, x=normal(3, 4).astype(np.float32))) == ["Add"]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_dynamic_batch(batch: int) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 2, 6, 6]}, {"w": normal(4, 2, 3, 3), "v": normal(4, 5)})
    plan = check(model, x=normal(batch, 2, 6, 6).astype(np.float32))
    assert [layer.nonnegative_input for layer in plan.layers] == [False, True]
    assert str(plan.graph.graph.outputs[0].shape) == "[N,5]"


def test_tied_weights_give_one_layer_a_use() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4)})
    plan = check(model, x=normal(3, 4).astype(np.float32))
    assert [layer.name for layer in plan.layers] == ["w", "w#2"]
    assert [plan.provenance[name]["weight"] for name in ("w", "w#2")] == ["w", "w"]
    assert not plan.graph.graph.initializers


def test_a_weight_that_a_digital_node_reads_stays() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "w"], ["y"]),
    ]
    plan = check(net(nodes, {"x": [4, 4]}, {"w": normal(4, 4)}), x=normal(4, 4).astype(np.float32))
    assert list(plan.graph.graph.initializers) == ["w"]


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype", "tolerance"),
    [
        (TensorProto.FLOAT16, np.float16, 2e-2),
        (TensorProto.DOUBLE, np.float64, 1e-5),
    ],
)
def test_other_float_types_keep_the_types_of_the_graph(
    dtype: int, numpy_dtype: type[np.generic], tolerance: float
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
    assert all(layer.weight.dtype == np.float32 for layer in plan.layers)


def test_bfloat16_weights_become_float32() -> None:
    weight = normal(4, 5).astype(ml_dtypes.bfloat16)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = net([node], {"x": ["N", 4]}, {"w": weight}, dtype=TensorProto.BFLOAT16)
    plan = compiled(model)
    np.testing.assert_array_equal(plan.layers[0].weight[0], weight.astype(np.float32))
    types = [node.outputs[0].dtype for node in plan.graph.graph]
    assert types == [ir.DataType.FLOAT, ir.DataType.FLOAT, ir.DataType.BFLOAT16]


def test_external_data(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    weight = normal(8, 4, 3, 3)
    path = tmp_path / "net.onnx"
    model = net([node], {"x": ["N", 4, 6, 6]}, {"w": weight})
    x = normal(2, 4, 6, 6).astype(np.float32)
    (expected,) = run_onnxruntime(model, {"x": x})
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    np.testing.assert_allclose(run_plan(compiled(path), {"x": x})[0], expected, atol=1e-4)


def test_names_that_were_taken_are_avoided() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], ["y"], beta=0.5),
        helper.make_node("Relu", ["x"], ["y/array"]),
        helper.make_node("Neg", ["c"], ["y/scale"]),
    ]
    model = net(
        nodes, {"x": [3, 4], "c": [3, 5]}, {"w": normal(4, 5)}, outputs=("y", "y/array", "y/scale")
    )
    check(model, x=normal(3, 4).astype(np.float32), c=normal(3, 5).astype(np.float32))


def test_digital_globs() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "first.w"], ["h"]),
        helper.make_node("MatMul", ["h", "second.w"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"first.w": normal(4, 4), "second.w": normal(4, 3)})
    assert [layer.name for layer in compiled(model, ("first*",)).layers] == ["second.w"]
    assert [layer.name for layer in compiled(model, ("y",)).layers] == ["first.w"]
    with pytest.raises(ModelError, match="no node can go on the array"):
        compiled(model, ("*",))


STAYS_DIGITAL: dict[str, tuple[onnx.NodeProto, dict[str, Shape], dict[str, Array], str]] = {
    "product of activations": (
        helper.make_node("MatMul", ["x", "z"], ["a"]),
        {"x": [4, 4], "z": [4, 4]},
        {},
        "is a constant",
    ),
    "weight on the left": (
        helper.make_node("MatMul", ["w", "x"], ["a"]),
        {"x": [4, 4]},
        {"w": normal(4, 4)},
        "is a constant",
    ),
    "batched weight": (
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        {"x": [2, 4, 4]},
        {"w": normal(2, 4, 4)},
        "two dimensions",
    ),
    "vector weight": (
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        {"x": [4, 4]},
        {"w": normal(4)},
        "two dimensions",
    ),
    "transposed input": (
        helper.make_node("Gemm", ["x", "w"], ["a"], transA=1),
        {"x": [4, 4]},
        {"w": normal(4, 4)},
        "transA",
    ),
    "3-D convolution": (
        helper.make_node("Conv", ["x", "w"], ["a"]),
        {"x": [1, 2, 4, 4, 4]},
        {"w": normal(2, 2, 3, 3, 3)},
        "one or two spatial dimensions",
    ),
    "computed bias": (
        helper.make_node("Conv", ["x", "w", "z"], ["a"]),
        {"x": [1, 2, 4, 4], "z": [2]},
        {"w": normal(2, 2, 3, 3)},
        "the bias is a constant",
    ),
}


@pytest.mark.parametrize("case", STAYS_DIGITAL)
def test_what_does_not_fit_stays_digital_and_says_why(case: str) -> None:
    node, inputs, weights, reason = STAYS_DIGITAL[case]
    fits = helper.make_node("MatMul", ["v", "ok"], ["y"])
    inputs, weights = {**inputs, "v": ["N", 3]}, {**weights, "ok": normal(3, 3)}
    model = net([node, fits], inputs, weights, outputs=("a", "y"))
    feed = {
        name: normal(*(2 if d == "N" else int(d) for d in dims)) for name, dims in inputs.items()
    }
    plan = check(model, **{name: x.astype(np.float32) for name, x in feed.items()})
    assert [layer.name for layer in plan.layers] == ["ok"]
    (report,) = (r for r in classify(Simplify()(load_model(model))) if r.output == "a")
    assert report.where == "digital"
    assert reason in report.reason
    assert report.fix


def test_layers_inside_control_flow_stay_digital() -> None:
    body = [helper.make_node("MatMul", ["x", "w"], ["b"])]
    branch = helper.make_graph(
        body, "branch", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", 4])]
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["i", "v"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4), "v": normal(4, 3)})
    plan = check(model, x=normal(3, 4).astype(np.float32))
    assert [layer.name for layer in plan.layers] == ["v"]
    reports = [r for r in classify(Simplify()(load_model(model))) if r.op == "MatMul"]
    assert {r.where for r in reports} == {"array", "digital"}
    assert any("If, Loop or Scan" in r.reason for r in reports)


def test_one_message_lists_all_five_problems() -> None:
    bad, huge = normal(4, 4), np.full((4, 4), 1e300)
    bad[1, 2] = np.nan
    nodes = [
        helper.make_node("MatMul", ["x", "nan.w"], ["a"]),
        helper.make_node("Gemm", ["a", "ok.w", "inf.b"], ["b"]),
        helper.make_node("Strange", ["b"], ["c"], domain="lab", name="odd"),
        helper.make_node("NoSuchOp", ["c"], ["d"]),
        helper.make_node("NoSuchFusion", ["d"], ["e"], domain="com.microsoft"),
        helper.make_node("Cast", ["e"], ["f"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["f", "huge.w"], ["g"]),
        helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {"nan.w": bad, "ok.w": normal(4, 4), "inf.b": np.full(4, np.inf)}
    model = net(nodes, {"x": ["N", 4]}, weights, domains=("lab", "com.microsoft"))
    model.graph.initializer.append(numpy_helper.from_array(huge, "huge.w"))
    with pytest.raises(ModelError, match="cannot be compiled") as caught:
        compiled(model)
    lines = str(caught.value).splitlines()[1:]
    expected = ["nan.w", "ok.w", "odd", "NoSuchOp", "NoSuchFusion", "huge.w"]
    assert len([line for line in lines if "no node can go" not in line]) == len(expected)
    for word in expected:
        assert sum(word in line for line in lines) == 1, word
    assert caught.value.exit_code == 2


def test_known_microsoft_ops_and_removed_ops() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Gelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4)}, domains=("com.microsoft",))
    assert digital_ops(compiled(model)) == ["Gelu"]
    nodes[1] = helper.make_node("Upsample", ["h", "s"], ["y"])
    weights = {"w": normal(4, 4), "s": np.array([1.0, 2.0])}
    with pytest.raises(ModelError, match="no op Upsample at opset 17"):
        compiled(net(nodes, {"x": ["N", 4]}, weights))


def test_reports_of_the_array() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2], name="first")
    plan = Simplify()(load_model(net([node], {"x": ["N", 4, 9, 9]}, {"w": normal(6, 2, 3, 3)})))
    (report,) = classify(plan)
    assert (report.name, report.where, report.op, report.output) == ("w", "array", "Conv", "y")
    assert report.shape == ("N", 6, 4, 4)
    assert report.macs == 2 * 18 * 3 * 16
    assert report.reason == "2 18×3 matrices"


NONNEGATIVE = {
    "Relu": ([helper.make_node("Relu", ["x"], ["h"])], True),
    "Neg": ([helper.make_node("Neg", ["x"], ["h"])], False),
    "Clip from 0": ([helper.make_node("Clip", ["x", "zero", "six"], ["h"])], True),
    "Clip from below": ([helper.make_node("Clip", ["x", "minus"], ["h"])], False),
    "Softmax, Reshape": (
        [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Transpose", ["s"], ["h"])],
        True,
    ),
    "sum of two": (
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Abs", ["x"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["h"]),
        ],
        True,
    ),
    "sum with any": (
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "x"], ["h"])],
        False,
    ),
    "square": ([helper.make_node("Mul", ["x", "x"], ["h"])], True),
    "scaled by a negative": (
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Mul", ["a", "minus"], ["h"])],
        False,
    ),
    "padded below zero": (
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Pad", ["a", "pads", "minus"], ["b"]),
            helper.make_node("Slice", ["b", "start", "stop"], ["h"]),
        ],
        False,
    ),
    "padded with zero": (
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Pad", ["a", "pads", "zero"], ["b"]),
            helper.make_node("Slice", ["b", "start", "stop"], ["h"]),
        ],
        True,
    ),
}


@pytest.mark.parametrize("case", NONNEGATIVE)
def test_nonnegative_inputs_are_proved(case: str) -> None:
    nodes, expected = NONNEGATIVE[case]
    constants = {
        "zero": np.array(0.0),
        "six": np.array(6.0),
        "minus": np.array(-1.0),
        "pads": np.array([1, 1, 0, 0]),
        "start": np.array([0, 0]),
        "stop": np.array([4, 4]),
    }
    used = {name for node in nodes for name in node.input}
    weights = {name: a for name, a in constants.items() if name in used}
    last = helper.make_node("MatMul", ["h", "w"], ["y"])
    plan = compiled(net([*nodes, last], {"x": [4, 4]}, {**weights, "w": normal(4, 4)}))
    assert plan.layers[0].nonnegative_input == expected


def test_plan_and_passes() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    before = Simplify()(load_model(net([node], {"x": ["N", 4]}, {"w": normal(4, 4)})))
    data = ir.to_proto(before.graph).SerializeToString(deterministic=True)
    plan = Partition()(before)
    assert plan.stage == "partition"
    assert plan.model_sha256 == before.model_sha256
    assert plan.graph.opset_imports[DOMAIN] == 1
    assert ir.to_proto(before.graph).SerializeToString(deterministic=True) == data


@pytest.mark.skipif(not RESNET.exists(), reason="no ResNet-20 beside the checkout")
def test_resnet() -> None:
    plan = compiled(RESNET)
    assert len(plan.layers) == 20
    assert [layer.nonnegative_input for layer in plan.layers] == [False, *[True] * 19]
    assert sum(layer.weight.size for layer in plan.layers) == 268_336
    x = normal(2, 3, 32, 32).astype(np.float32)
    expected = run_onnxruntime(onnx.load(RESNET), {"input": x})[0]
    np.testing.assert_allclose(run_plan(plan, {"input": x})[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("marker", "expected"),
    [("ops", ops_markdown(ops_table())), ("nonnegative", rules_markdown())],
)
def test_documentation_is_in_step(marker: str, expected: str) -> None:
    text = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    start, end = f"<!-- {marker}: generated -->\n", f"<!-- {marker}: end -->"
    assert text.split(start)[1].split(end)[0] == expected


def test_native_ops_are_listed() -> None:
    rows = ops_table(["Relu", "Conv"])
    assert [row.op for row in rows if row.note == "native"] == ["Relu"]
    assert [row.op for row in rows if row.where == "array"] == ["Conv", "Gemm", "MatMul"]
