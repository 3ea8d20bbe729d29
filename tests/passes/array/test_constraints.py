"""What goes on the array, what stays digital and why, and what no compiler could mend."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from pimc.passes.array.judge import (
    array_share,
    classify,
)
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import Plan

Array = np.ndarray[Any, Any]

Shape = list[int | str]


def lowered(model: onnx.ModelProto) -> Plan:
    return Lower()(Simplify()(load_model(model)))


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


STAYS_DIGITAL: dict[str, tuple[onnx.NodeProto, dict[str, Shape], dict[str, Array], str]] = {
    "product of activations": (
        helper.make_node("MatMul", ["x", "z"], ["a"]),
        {"x": [4, 4], "z": [4, 4]},
        {},
        "is a constant",
    ),
    "ellipsis": (
        helper.make_node("Einsum", ["x", "w"], ["a"], equation="...i,ij->...j"),
        {"x": [4, 4]},
        {"w": normal(4, 4)},
        "names all axes",
    ),
    "computed recurrent bias": (
        helper.make_node("RNN", ["x", "w", "r", "b"], ["a"], hidden_size=4),
        {"x": [3, 2, 4], "b": [1, 8]},
        {"w": normal(1, 4, 4), "r": normal(1, 4, 4)},
        "weights and biases are constants",
    ),
    "computed kernel": (
        helper.make_node("ConvTranspose", ["x", "z"], ["a"]),
        {"x": [1, 2, 4, 4], "z": [2, 2, 3, 3]},
        {},
        "the weight is a constant",
    ),
    "computed bias": (
        helper.make_node("Conv", ["x", "w", "z"], ["a"]),
        {"x": [1, 2, 4, 4], "z": [2]},
        {"w": normal(2, 2, 3, 3)},
        "the bias is a constant",
    ),
}


@pytest.mark.parametrize("case", STAYS_DIGITAL)
def test_what_does_not_fit_stays_digital_and_says_why(net, check, case: str) -> None:
    node, inputs, weights, reason = STAYS_DIGITAL[case]
    fits = helper.make_node("MatMul", ["v", "ok"], ["y"])
    inputs, weights = {**inputs, "v": ["N", 3]}, {**weights, "ok": normal(3, 3)}
    model = net([node, fits], inputs, weights, outputs=("a", "y"))
    feed = {
        name: normal(*(2 if d == "N" else int(d) for d in dims)) for name, dims in inputs.items()
    }
    plan = check(model, **{name: x.astype(np.float32) for name, x in feed.items()})
    assert [layer.name for layer in plan.layers] == ["ok"]
    (report,) = (r for r in classify(lowered(model)) if r.output == "a")
    assert report.where == "digital"
    assert reason in report.reason
    assert report.fix


DECLINED: dict[str, tuple[onnx.NodeProto, Shape | None, Array, str]] = {
    "unknown rank": (helper.make_node("MatMul", ["w", "x"], ["y"]), None, normal(4, 4), "rank"),
    "groups of unknown length": (
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        ["G", 4, 4],
        normal(2, 4, 4),
        "as long as the input's",
    ),
    "peepholes that come in": (
        helper.make_node("LSTM", ["x", "w", "w", "", "", "", "", "z"], ["y"], hidden_size=4),
        [3, 2, 4],
        normal(1, 16, 4),
        "peepholes are constants",
    ),
    "a zero point a row": (
        helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"]),
        [4, 4],
        np.ones((4, 4), np.uint8),
        "one scale and one zero point",
    ),
    "rotary embedding": (
        helper.make_node("Attention", ["x", "w"], ["y"], domain="com.microsoft", do_rotary=1),
        [1, 2, 4],
        normal(4, 12),
        "no rotary embedding",
    ),
    "blocks in another order": (
        helper.make_node(
            "MatMulNBits",
            ["x", "w", "w", "", "w"],
            ["y"],
            domain="com.microsoft",
            K=4,
            N=4,
            block_size=16,
        ),
        [1, 4],
        normal(4, 4),
        "no indices",
    ),
    "activation with a parameter": (
        helper.make_node("RNN", ["x", "w", "w"], ["y"], hidden_size=4, activations=["LeakyRelu"]),
        [3, 2, 4],
        normal(1, 4, 4),
        "activations have no parameters",
    ),
}


@pytest.mark.parametrize("case", DECLINED)
def test_weights_that_cannot_be_used_are_named_and_refused_on_request(net, case: str) -> None:
    node, shape, weight, reason = DECLINED[case]
    inputs: dict[str, Shape] = {"x": [] if shape is None else shape}
    if "z" in node.input:
        inputs["z"] = [4]
    model = net([node], inputs, {"w": weight}, domains=("com.microsoft",))
    if shape is None:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    plan = lowered(model)
    for array_only, where in ((False, "digital"), (True, "refused")):
        (report,) = classify(plan, array_only=array_only)
        assert (report.where, report.op.rpartition(":")[2]) == (where, node.op_type)
        assert reason in report.reason
        assert report.fix
    (report,) = classify(plan, ["*"], array_only=True)
    assert report.where == "digital"  # by its name it may stay there


def test_products_of_activations_are_no_weights(net) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "h"], ["y"]),
    ]
    reports = classify(lowered(net(nodes, {"x": [4, 4]}, {"w": normal(4, 4)})), array_only=True)
    assert [report.where for report in reports] == ["array", "digital"]
    assert array_share(reports) == 0.5
    kept = classify(lowered(net(nodes, {"x": [4, 4]}, {"w": normal(4, 4)})), ["w"], array_only=True)
    assert [report.where for report in kept] == ["digital", "digital"]
