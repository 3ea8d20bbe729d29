"""Weights behind operators that can be computed beforehand come to light."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.passes.simplify.simplified_nets import (
    build,
    normal,
    same_outputs,
    simplified,
)


def test_weights_hidden_behind_foldable_ops() -> None:
    nodes = [
        helper.make_node("Slice", ["raw", "zero", "six", "zero"], ["cut"]),
        helper.make_node("Transpose", ["cut"], ["turned"], perm=[1, 0]),
        helper.make_node("Identity", ["turned"], ["same"]),
        helper.make_node("MatMul", ["x", "same"], ["y"]),
    ]
    weights = {"raw": normal(8, 5), "zero": np.array([0]), "six": np.array([6])}
    model = build(nodes, ["N", 5], weights)
    assert same_outputs(model, (3, 5)) == {"MatMul": 1}
    (node,) = simplified(model).graph.graph
    weight = node.inputs[1]
    assert weight is not None
    assert weight.is_initializer()


def test_weights_behind_a_split() -> None:
    nodes = [
        helper.make_node("Split", ["both"], ["w1", "w2"], axis=1),
        helper.make_node("Transpose", ["w2"], ["w3"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("MatMul", ["h", "w3"], ["y"]),
    ]
    assert same_outputs(build(nodes, ["N", 4], {"both": normal(4, 8)}), (3, 4)) == {"MatMul": 2}
