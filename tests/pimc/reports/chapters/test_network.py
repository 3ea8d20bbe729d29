"""The graph of the network: array layers, digital operators in boxes, no box on another."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pimc.api import compile
from pimc.image.image import Image
from pimc.reports.chapters import network
from pimc.reports.chapters.network import network_graph


def test_layers_and_operators_are_counted(tiny_image: Image) -> None:
    graph = network_graph(tiny_image)
    assert graph is not None
    layers = [node.label for node in graph.nodes if node.kind == "array"]
    assert layers == [layer.name for layer in tiny_image.layers]
    assert [node.kind for node in graph.nodes][:1] == ["input"]
    assert [node.kind for node in graph.nodes][-1:] == ["output"]
    # Pooling and flattening follow the second rectifier, and nothing else uses what is between.
    digital = [node.text for node in graph.nodes if node.kind == "digital"]
    assert any(text.startswith("Relu · ") and "GlobalAveragePool" in text for text in digital)


def branching() -> onnx.ModelProto:
    """One input, two layers side by side, a path around both, and their sum."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((8, 8)).astype(np.float32), name)
        for name in ("a", "b")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["one"]),
        helper.make_node("Relu", ["one"], ["two"]),
        helper.make_node("MatMul", ["two", "b"], ["three"]),
        helper.make_node("Add", ["three", "x"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, ["N", 8])], [value("y", 1, ["N", 8])], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_no_box_lies_on_another_and_no_edge_through_one() -> None:
    graph = network_graph(compile(branching()))
    assert graph is not None
    for one, two in itertools.combinations(graph.nodes, 2):
        apart_x = one.x + one.width <= two.x or two.x + two.width <= one.x
        apart_y = one.y + one.height <= two.y or two.y + two.height <= one.y
        assert apart_x or apart_y, (one.label, two.label)
    assert all(node.x >= 0 and node.x + node.width <= graph.width for node in graph.nodes)
    assert all(node.y >= 0 and node.y + node.height <= graph.height for node in graph.nodes)
    # The path around takes a place in every rank between: x to the sum is one edge of five parts.
    assert max(edge.path.count("C") for edge in graph.edges) == 4


def test_too_many_boxes_are_no_picture(tiny_image: Image, monkeypatch) -> None:
    monkeypatch.setattr(network, "MOST_BOXES", 3)
    assert network_graph(tiny_image) is None
