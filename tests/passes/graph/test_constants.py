"""What is a constant, what it holds, and new ones under names of their own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from pimc.passes.graph.constants import (
    add_constant,
    become_constant,
    constant_array,
    constant_tensor,
    fresh,
    is_constant,
    is_float,
    names_in_use,
)
from tests.passes.test_repeated_layers import branching


def network() -> ir.Model:
    """``y = x + w``, and a Constant node beside it."""
    x = ir.Value(name="x")
    tensor = ir.tensor(np.arange(3, dtype=np.float32), name="w")
    w = ir.Value(name="w", const_value=tensor)
    made = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor([5.0], name="c"))])
    made.outputs[0].name = "c"
    added = ir.Node("", "Add", [x, w])
    added.outputs[0].name = "y"
    graph = ir.Graph(
        [x], added.outputs, nodes=[made, added], initializers=[w], opset_imports={"": 17}
    )
    return ir.Model(graph, ir_version=10)


def test_initializers_and_constants_are_constant_and_inputs_are_not() -> None:
    model = network()
    constant, added = model.graph
    assert np.asarray(constant_array(added.inputs[1])).tolist() == [0, 1, 2]
    assert np.asarray(constant_array(constant.outputs[0])).tolist() == [5.0]
    for value in (added.inputs[0], added.outputs[0], None):
        assert not is_constant(value)
        assert constant_array(value) is None
    # A graph input of an initializer's name can be overridden.
    weight = added.inputs[1]
    assert weight is not None
    model.graph.inputs.append(weight)
    assert constant_tensor(weight) is None


def test_constants_of_unknown_kind_are_none() -> None:
    made = ir.Node("", "Constant", [], [ir.AttrInt64("value_of_tomorrow", 1)])
    assert constant_tensor(made.outputs[0]) is None


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [("FLOAT", True), ("BFLOAT16", True), ("DOUBLE", True), ("INT8", False), ("BOOL", False)],
)
def test_types_that_weights_may_have(dtype: str, wanted: bool) -> None:
    assert is_float(ir.DataType[dtype]) == wanted
    assert not is_float(None)


def test_a_new_constant_lies_row_by_row() -> None:
    graph = network().graph
    value = add_constant(graph, "new", np.arange(6).reshape(2, 3).T)
    assert graph.initializers["new"] is value
    assert (value.dtype, list(value.shape or ())) == (ir.DataType.INT64, [3, 2])
    array = constant_array(value)
    assert array is not None
    assert array.flags.c_contiguous
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_value_becomes_a_constant_under_its_name() -> None:
    model = network()
    _, added = model.graph
    relu = ir.Node("", "Relu", [added.outputs[0]])
    model.graph.append(relu)
    model.graph.outputs[0] = relu.outputs[0]
    become_constant(model.graph, added.outputs[0], ir.tensor(np.float32(7)))
    assert relu.inputs[0] is model.graph.initializers["y"]
    assert constant_array(relu.inputs[0]) == 7


def test_fresh_names_are_taken_then() -> None:
    taken = {"a", "a#2"}
    assert [fresh("a", taken), fresh("a", taken), fresh("b", taken)] == ["a#3", "a#4", "b"]
    assert taken == {"a", "a#2", "a#3", "a#4", "b"}


def test_names_in_use_are_those_of_bodies_too() -> None:
    names = names_in_use(ir.from_proto(branching()))
    assert {"x", "y", "u", "v", "w", "out.u", "out.v", "s", "positive", "zero"} <= names
