"""Simplification: same outputs, fewer nodes, weights in the open, the same bytes each time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify
from tests.passes.simplify.simplified_nets import (
    batchnorm,
    bn_node,
    build,
    normal,
    run,
    same_outputs,
    simplified,
)

RESNET = Path(__file__).parents[4] / "shared" / "data" / "cifar10" / "resnet20.onnx"

needs_resnet = pytest.mark.skipif(not RESNET.exists(), reason="no ResNet-20 beside the checkout")


@pytest.mark.parametrize("opset", [13, 17, 19, 21])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized_weights_are_seen_as_floats(opset: int, per_channel: bool) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1),
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    codes = np.arange(-10, 10, dtype=np.int8).reshape(4, 5)
    scale = np.linspace(0.1, 0.5, 5) if per_channel else np.array(0.5)
    zero = np.arange(5, dtype=np.int8) if per_channel else np.array(3, np.int8)
    weights = {"q": codes, "scale": scale, "zero": zero}
    model = build(nodes, ["N", 5], weights, opset=opset)
    assert same_outputs(model, (3, 5)) == {"MatMul": 1}


def test_functions_are_inlined() -> None:
    body = helper.make_function(
        "local",
        "Affine",
        ["a", "w"],
        ["r"],
        [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Relu", ["m"], ["r"])],
        [helper.make_opsetid("", 17)],
    )
    node = helper.make_node("Affine", ["x", "w"], ["y"], domain="local")
    model = build([node], ["N", 4], {"w": normal(4, 3)}, functions=[body])
    assert same_outputs(model, (2, 4)) == {"MatMul": 1, "Relu": 1}


def test_dropout_and_identity_vanish_and_names_of_outputs_stay() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Dropout", ["h"], ["d"]),
        helper.make_node("Identity", ["d"], ["y"]),
    ]
    model = build(nodes, ["N", 4], {"w": normal(4, 3)})
    assert same_outputs(model, (2, 4)) == {"MatMul": 1}
    graph = simplified(model).graph.graph
    assert [value.name for value in (*graph.inputs, *graph.outputs)] == ["x", "y"]


def test_an_input_that_is_an_output_survives() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    model = build(nodes, ["N", 4], {"w": normal(4, 3)}, outputs=("same", "y"))
    same_outputs(model, (2, 4))


def test_large_expansions_stay_ops() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "sum"], ["y"]),
    ]
    model = build(nodes, ["N", 4], {"shape": np.array([1 << 11, 1 << 11]), "w": normal(4, 3)})
    plan = simplified(model)
    assert any(node.op_type == "ConstantOfShape" for node in plan.graph.graph)
    assert all((v.const_value.nbytes < 1000) for v in plan.graph.graph.initializers.values())  # type: ignore[union-attr]


def test_random_ops_are_not_folded() -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[3]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "r"], ["y"]),
    ]
    plan = simplified(build(nodes, ["N", 4], {"w": normal(4, 3)}))
    assert any(node.op_type == "RandomNormal" for node in plan.graph.graph)


def test_node_names_survive_fusion() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="features/conv"),
        bn_node("bn", "h", "y"),
    ]
    plan = simplified(build(nodes, ["N", 4, 6, 6], {"w": normal(4, 4, 3, 3), **batchnorm("bn", 4)}))
    assert [node.name for node in plan.graph.graph] == ["features/conv"]


def test_the_plan_given_is_not_changed() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"]), bn_node("bn", "h", "y")]
    plan = load_model(build(nodes, ["N", 4, 6, 6], {"w": normal(4, 4, 3, 3), **batchnorm("bn", 4)}))
    before = ir.to_proto(plan.graph).SerializeToString(deterministic=True)
    result = Simplify()(plan)
    assert result.stage == "simplify"
    assert ir.to_proto(plan.graph).SerializeToString(deterministic=True) == before


def test_external_data_that_no_rule_needs_is_not_read(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    path = tmp_path / "net.onnx"
    model = build(nodes, ["N", 400], {"w": normal(400, 300)})
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    weight = simplified(path).graph.graph.initializers["w"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    assert weight.raw is None


def test_a_rewrite_that_would_break_the_graph_is_taken_back() -> None:
    """ONNX Runtime accepts a Range over vectors as long as their shape is hidden in an If."""
    size = helper.make_node("Shape", ["x"], ["size"], start=0, end=1)
    branch = [helper.make_node("Identity", ["size"], ["b"])]
    result = [helper.make_tensor_value_info("b", TensorProto.INT64, None)]
    nodes = [
        size,
        helper.make_node(
            "If",
            ["yes"],
            ["n"],
            then_branch=helper.make_graph(branch, "then", [], result),
            else_branch=helper.make_graph(branch, "else", [], result),
        ),
        helper.make_node("Range", ["zero", "n", "one"], ["r"]),
        helper.make_node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "f"], ["y"]),
    ]
    weights = {"yes": np.array(True), "zero": np.array(0), "one": np.array(1), "w": normal(4, 3)}
    assert same_outputs(build(nodes, ["N", 4], weights), (3, 4))["Range"] == 1


@needs_resnet
def test_resnet_has_only_layers_and_cheap_ops_left() -> None:
    plan = simplified(RESNET)
    counts = Counter(node.op_type for node in plan.graph.graph)
    assert counts["Conv"] == 19
    assert counts["Gemm"] == 1
    assert counts["BatchNormalization"] == 0
    assert sum(counts.values()) <= 60
    x = normal(2, 3, 32, 32).astype(np.float32)
    expected = run(onnx.load(RESNET), x)[0]
    np.testing.assert_allclose(run(plan.graph, x)[0], expected, rtol=1e-4, atol=1e-4)


_HASH = """
import hashlib, sys
import onnx_ir as ir
from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify
from pimc.passes.array.partition import Partition
plan = Partition()(Simplify()(load_model(sys.argv[1])))
digest = hashlib.sha256(ir.to_proto(plan.graph).SerializeToString(deterministic=True))
for layer in plan.layers:
    digest.update(layer.weight.numpy().tobytes() + layer.bias.tobytes())
print(digest.hexdigest(), "torch" in sys.modules)
"""


def test_same_bytes_in_every_process(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h1"], pads=[1, 1, 1, 1]),
        bn_node("bn1", "h1", "h2"),
        helper.make_node("Conv", ["h2", "w", "b"], ["h3"], pads=[1, 1, 1, 1]),
        bn_node("bn2", "h3", "h4"),
        helper.make_node("Add", ["h4", "x"], ["h5"]),
        bn_node("bn1", "h5", "y"),
    ]
    weights = {"w": normal(4, 4, 3, 3), "b": normal(4), **batchnorm("bn1", 4)}
    weights |= batchnorm("bn2", 4)
    path = tmp_path / "net.onnx"
    onnx.save(build(nodes, ["N", 4, 6, 6], weights), path)
    results = {
        subprocess.run(
            [sys.executable, "-c", _HASH, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(results) == 1
    assert results.pop().split()[1] == "False", "the passes imported torch"
