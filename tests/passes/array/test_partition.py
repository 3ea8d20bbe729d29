"""Partition: the layers and the digital rest compute what ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from pimc.errors import ModelError
from pimc.passes.array.partition import Partition
from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import DOMAIN, Plan

ROOT = Path(__file__).parents[3]

RESNET = ROOT.parent / "shared" / "data" / "cifar10" / "resnet20.onnx"

Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def digital_ops(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.graph.graph if node.domain != DOMAIN]


@pytest.mark.parametrize("x_shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("bias_shape", [None, (), (1,), (5,), (1, 5), (2, 1, 1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_matmul_takes_a_following_bias(
    net, check, x_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None, swapped: bool
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
def test_conv_takes_a_following_bias_along_channels_only(
    net, check, bias_shape: tuple[int, ...]
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 2, 6, 6]}, {"w": normal(4, 2, 3, 3), "b": normal(*bias_shape)})
    plan = check(model, x=normal(2, 2, 6, 6).astype(np.float32))
    fused = bias_shape in [(4, 1, 1), (1, 4, 1, 1), ()]
    assert digital_ops(plan) == ([] if fused else ["Add"])


def test_a_bias_is_not_taken_from_a_value_others_read(net, check) -> None:
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
def test_dynamic_batch(net, check, batch: int) -> None:
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


def test_tied_weights_share_their_cells(net, check) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4), "b": normal(4)})
    plan = check(model, x=normal(3, 4).astype(np.float32))
    (layer,) = plan.layers
    assert (layer.name, layer.output) == ("w", "h")
    # Of the uses one is nonnegative; only one has a bias, which is added behind it.
    assert not layer.nonnegative_input
    assert not layer.bias.any()
    assert [node.op_type for node in plan.graph.graph] == ["Array", "Relu", "Array", "Add"]


def test_tied_weights_with_one_bias_take_it_along(net, check) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["h", "w", "b"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = {"w": normal(2, 2, 3, 3), "b": normal(2)}
    plan = check(
        net(nodes, {"x": ["N", 2, 5, 5]}, weights), x=normal(3, 2, 5, 5).astype(np.float32)
    )
    (layer,) = plan.layers
    np.testing.assert_array_equal(layer.bias, weights["b"].astype(np.float32))
    assert {node.op_type for node in plan.graph.graph} == {"Array"}


def test_a_weight_used_in_two_ways_makes_two_layers(net, check) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"]),
        helper.make_node("Gemm", ["h", "w"], ["y"], transB=1),
    ]
    plan = check(
        net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4)}), x=normal(3, 4).astype(np.float32)
    )
    assert [layer.name for layer in plan.layers] == ["w", "w#2"]


def test_a_weight_that_a_digital_node_reads_stays(net, check) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "w"], ["y"]),
    ]
    plan = check(net(nodes, {"x": [4, 4]}, {"w": normal(4, 4)}), x=normal(4, 4).astype(np.float32))
    assert list(plan.graph.graph.initializers) == ["w"]


def test_names_that_were_taken_are_avoided(net, check) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], ["y"], beta=0.5),
        helper.make_node("Relu", ["x"], ["y/array"]),
        helper.make_node("Neg", ["c"], ["y/scale"]),
    ]
    model = net(
        nodes, {"x": [3, 4], "c": [3, 5]}, {"w": normal(4, 5)}, outputs=("y", "y/array", "y/scale")
    )
    check(model, x=normal(3, 4).astype(np.float32), c=normal(3, 5).astype(np.float32))


def test_digital_globs(net, compiled) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "first.w"], ["h"]),
        helper.make_node("MatMul", ["h", "second.w"], ["y"]),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"first.w": normal(4, 4), "second.w": normal(4, 3)})
    assert [layer.name for layer in compiled(model, ("first*",)).layers] == ["second.w"]
    assert [layer.name for layer in compiled(model, ("y",)).layers] == ["first.w"]
    with pytest.raises(ModelError, match="no node can go on the array"):
        compiled(model, ("*",))


def test_plan_and_passes(net) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    before = Simplify()(load_model(net([node], {"x": ["N", 4]}, {"w": normal(4, 4)})))
    data = ir.to_proto(before.graph).SerializeToString(deterministic=True)
    plan = Partition()(before)
    assert plan.stage == "partition"
    assert plan.model_sha256 == before.model_sha256
    assert plan.graph.opset_imports[DOMAIN] == 1
    assert ir.to_proto(before.graph).SerializeToString(deterministic=True) == data


@pytest.mark.skipif(not RESNET.exists(), reason="no ResNet-20 beside the checkout")
def test_resnet(check) -> None:
    plan = check(RESNET, 1e-3, input=normal(2, 3, 32, 32).astype(np.float32))
    assert len(plan.layers) == 20
    assert [layer.nonnegative_input for layer in plan.layers] == [False, *[True] * 19]
    assert sum(layer.weight.size for layer in plan.layers) == 268_336
