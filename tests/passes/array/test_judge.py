"""Where every node goes, told in one report with reasons, and in the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.errors import ModelError
from pimc.passes.array.judge import (
    classify,
    ops_markdown,
    ops_table,
)
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import Plan

ROOT = Path(__file__).parents[3]

Array = np.ndarray[Any, Any]


def lowered(model: onnx.ModelProto) -> Plan:
    return Lower()(Simplify()(load_model(model)))


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape)


def test_one_message_lists_all_five_problems(net, compiled) -> None:
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


def test_reports_of_the_array(net) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2], name="first")
    plan = lowered(net([node], {"x": ["N", 4, 9, 9]}, {"w": normal(6, 2, 3, 3)}))
    (report,) = classify(plan)
    assert (report.name, report.where, report.op, report.output) == ("w", "array", "Conv", "y")
    assert report.shape == ("N", 6, 4, 4)
    assert report.macs == 2 * 18 * 3 * 16
    assert report.reason == "2 18×3 matrices"


def test_native_ops_are_listed() -> None:
    rows = ops_table(["Relu", "Conv"])
    assert [row.op for row in rows if row.note == "native"] == ["Relu"]
    array = [row.op for row in rows if row.where == "array"]
    assert {"Conv", "Gemm", "MatMul", "LSTM", "com.microsoft::Attention"} <= set(array)


def test_documentation_is_in_step() -> None:
    text = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    start, end = "<!-- ops: generated -->\n", "<!-- ops: end -->"
    assert text.split(start)[1].split(end)[0] == ops_markdown(ops_table())
