"""Inputs that are never negative are told by rules over the operators before them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from pimc.passes.array.nonneg import rules_markdown

ROOT = Path(__file__).parents[3]

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
def test_nonnegative_inputs_are_proved(net, compiled, case: str) -> None:
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
    plan = compiled(net([*nodes, last], {"x": [4, 4]}, {**weights, "w": np.ones((4, 4))}))
    assert plan.layers[0].nonnegative_input == expected


def test_documentation_is_in_step() -> None:
    text = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    start, end = "<!-- nonnegative: generated -->\n", "<!-- nonnegative: end -->"
    assert text.split(start)[1].split(end)[0] == rules_markdown()
