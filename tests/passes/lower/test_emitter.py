"""What replaces an operator takes its place, its values' names and its weights' names."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from pimc.errors import PlanError
from pimc.passes.graph.constants import constant_array, names_in_use
from pimc.passes.lower.emitter import SOURCE_OP, Emitter, finish, source_names, source_op
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.test_repeated_layers import branching


def network(*nodes: onnx.NodeProto) -> ir.Model:
    weights = {"w": drawn(4, 4), "v": drawn(4, 4)}
    every = nodes or (node("MatMul", ["x", "w"], ["y"], name="product"),)
    return ir.from_proto(model_of(list(every), {"x": ["N", 4]}, weights))


def emitter(model: ir.Model, number: int = 0) -> Emitter:
    return Emitter(list(model.graph.all_nodes())[number], model.graph, names_in_use(model))


def test_nodes_stand_where_the_operator_was() -> None:
    model = network()
    emit = emitter(model)
    turned = emit.weight(drawn(4, 4).T, "w")
    y = emit.op("Relu", emit.op("MatMul", emit.node.inputs[0], turned))
    emit.replace([y])
    finish(model, [emit])
    assert [each.op_type for each in model.graph] == ["MatMul", "Relu"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    # Nothing else has the weight's name any more.
    assert list(model.graph.initializers) == ["w"]
    np.testing.assert_array_equal(constant_array(model.graph.initializers["w"]), drawn(4, 4).T)
    onnx.checker.check_model(ir.to_proto(model))


def test_nodes_know_what_they_stand_for() -> None:
    model = network()
    emit = emitter(model)
    y = emit.op("Relu", emit.node.inputs[0])
    made = y.producer()
    assert made is not None
    assert source_op(made) == made.metadata_props[SOURCE_OP] == "MatMul"
    assert source_names(made) == ["product", "y"]
    # A part of a part still stands for what the user wrote.
    emit.replace([y])
    again = Emitter(made, model.graph, names_in_use(model)).op("Tanh", made.inputs[0]).producer()
    assert again is not None
    assert source_op(again) == "MatMul"
    assert source_names(again) == ["product", "y"]


def test_names_are_new_and_begin_with_the_outputs() -> None:
    emit = emitter(network())
    names = [emit.op("Relu", emit.node.inputs[0]).name for _ in range(3)]
    assert names == ["y/relu", "y/relu#2", "y/relu#3"]
    assert [value.name for value in emit.ops("Split", None, outputs=2)] == ["y/split", "y/split#2"]
    assert emit.constant(np.ones(1)).name == "y/constant"


def test_a_weights_name_is_taken_only_where_it_is_free() -> None:
    model = network(node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"]))
    emit = emitter(model)
    emit.replace([emit.op("MatMul", emit.node.inputs[0], emit.weight(drawn(4, 4), "w"))])
    finish(model, [emit])
    assert set(model.graph.initializers) == {"w", "w#2"}
    first, second = model.graph
    assert [each.inputs[1].name for each in (first, second) if each.inputs[1]] == ["w#2", "w"]


def test_what_is_shared_is_made_once_as_long_as_it_is_there() -> None:
    model = network()
    emit = emitter(model)
    made: list[ir.Value] = []

    def make() -> ir.Value:
        made.append(emit.weight(drawn(2, 2), f"shared{len(made)}"))
        return made[-1]

    assert emit.once("key", make) is emit.once("key", make) is made[0]
    assert emit.once("other", make) is made[1]
    del model.graph.initializers[str(made[0].name)]
    assert emit.once("key", make) is made[2]
    assert emit.once("nothing", lambda: None) is None


def test_constants_of_bodies_lie_in_the_main_graph() -> None:
    model = ir.from_proto(branching())
    inside = next(
        n for n, each in enumerate(model.graph.all_nodes()) if each.graph is not model.graph
    )
    emit = emitter(model, inside)
    weight = emit.weight(drawn(4, 4), "u2")
    emit.replace([emit.op("MatMul", emit.node.inputs[0], weight)])
    finish(model, [emit])
    assert "u2" in model.graph.initializers
    body = list(model.graph.all_nodes())[inside]
    assert body.graph is not model.graph
    assert body.inputs[1] is model.graph.initializers["u2"]


def test_an_operator_in_no_graph_cannot_be_replaced() -> None:
    model = network()
    alone = ir.Node("", "Relu", [None], name="alone")
    with pytest.raises(PlanError, match="alone: is in no graph"):
        Emitter(alone, model.graph, set()).replace([])


def test_without_emitters_nothing_is_touched() -> None:
    unused = helper.make_node("Relu", ["x"], ["unused"])
    model = network(unused, node("MatMul", ["x", "w"], ["y"]))
    finish(model, [])
    assert len(model.graph) == 2
