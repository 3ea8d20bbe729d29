"""Batch norms vanish into layers, or become a factor and an offset a channel."""

from __future__ import annotations

import pytest
from onnx import helper

from tests.passes.simplify.simplified_nets import (
    batchnorm,
    bn_node,
    build,
    normal,
    same_outputs,
)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm"])
def test_batchnorm_after_a_layer_is_fused(op: str) -> None:
    conv = op != "Gemm"
    nodes = [helper.make_node(op, ["x", "w"], ["h"]), bn_node("bn", "h", "y")]
    model = build(
        nodes,
        ["N", 4, 8, 8] if conv else ["N", 4],
        {"w": normal(4, 4, 3, 3) if conv else normal(4, 4), **batchnorm("bn", 4)},
    )
    assert same_outputs(model, (2, 4, 8, 8) if conv else (2, 4)) == {op: 1}


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 5), (2, 4, 5, 5)])
def test_batchnorm_after_add_becomes_affine(shape: tuple[int, ...]) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["h"]), bn_node("bn", "h", "y")]
    model = build(nodes, ["N", *shape[1:]], batchnorm("bn", 4))
    assert same_outputs(model, shape) == {"Add": 2, "Mul": 1}


def test_batchnorm_before_a_layer_becomes_affine() -> None:
    nodes = [bn_node("bn", "x", "h"), helper.make_node("Conv", ["h", "w"], ["y"])]
    model = build(nodes, ["N", 4, 6, 6], {"w": normal(3, 4, 3, 3), **batchnorm("bn", 4)})
    assert same_outputs(model, (2, 4, 6, 6)) == {"Mul": 1, "Add": 1, "Conv": 1}


def test_batchnorm_whose_input_is_an_output_keeps_both() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"]), bn_node("bn", "h", "y")]
    model = build(
        nodes,
        ["N", 4, 6, 6],
        {"w": normal(4, 4, 3, 3), **batchnorm("bn", 4)},
        outputs=("h", "y"),
    )
    assert same_outputs(model, (2, 4, 6, 6))["BatchNormalization"] == 0


def test_training_batchnorm_is_left_alone() -> None:
    node = helper.make_node(
        "BatchNormalization",
        ["x", "bn.scale", "bn.bias", "bn.mean", "bn.var"],
        ["y", "m", "v"],
        training_mode=1,
    )
    model = build([node], [3, 4, 5], batchnorm("bn", 4), outputs=("y", "m", "v"))
    assert same_outputs(model, (3, 4, 5)) == {"BatchNormalization": 1}


def test_tied_weights_are_fused_each_with_its_own_batchnorm() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h1"], pads=[1, 1, 1, 1]),
        bn_node("bn1", "h1", "h2"),
        helper.make_node("Conv", ["h2", "w", "b"], ["h3"], pads=[1, 1, 1, 1]),
        bn_node("bn2", "h3", "y"),
    ]
    second = {name: array + 0.5 for name, array in batchnorm("bn2", 4).items()}
    weights = {"w": normal(4, 4, 3, 3), "b": normal(4), **batchnorm("bn1", 4), **second}
    assert same_outputs(build(nodes, ["N", 4, 6, 6], weights), (2, 4, 6, 6), 1e-4) == {"Conv": 2}
