"""Operators that nobody can run are known by their schemas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from pimc.errors import ModelError
from pimc.plan.records import DOMAIN

Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def test_known_microsoft_ops_and_removed_ops(net, compiled) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Gelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    model = net(nodes, {"x": ["N", 4]}, {"w": normal(4, 4)}, domains=("com.microsoft",))
    digital = [node.op_type for node in compiled(model).graph.graph if node.domain != DOMAIN]
    assert digital == ["Gelu"]
    nodes[1] = helper.make_node("Upsample", ["h", "s"], ["y"])
    weights = {"w": normal(4, 4), "s": np.array([1.0, 2.0])}
    with pytest.raises(ModelError, match="no op Upsample at opset 17"):
        compiled(net(nodes, {"x": ["N", 4]}, weights))
