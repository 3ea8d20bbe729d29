"""Scales go through chains of operators without a trace in what the network computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from pimc import api
from pimc.passes.equalize.chains import chain_to, scale_inputs
from pimc.passes.graph.constants import names_in_use
from pimc.plan.records import Plan, array_nodes, layer_of
from tests.passes.lowered_nets import model_of, node

Floats = npt.NDArray[np.float32]

#: Operators between two convolutions, by what they are called here: nodes from ``{0}`` to ``{1}``.
BETWEEN = {
    "relu": lambda a, b: [node("Relu", [a], [b])],
    "leaky": lambda a, b: [node("LeakyRelu", [a], [b], alpha=0.2)],
    "clip": lambda a, b: [node("Clip", [a, "zero", "six"], [b])],
    "clip above": lambda a, b: [node("Clip", [a, "", "six"], [b])],
    "clip both": lambda a, b: [node("Clip", [a, "minus", "six"], [b])],
    "clip at the largest": lambda a, b: [node("Clip", [a, "least", "largest"], [b])],
    "clip none": lambda a, b: [node("Clip", [a], [b])],
    "pad": lambda a, b: [node("Pad", [a, "pads"], [b])],
    "max": lambda a, b: [node("MaxPool", [a], [b], kernel_shape=[2, 2])],
    "mean": lambda a, b: [node("AveragePool", [a], [b], kernel_shape=[2, 2], pads=[0, 0, 1, 1])],
}
#: Those that no scale passes through.
OPAQUE = {
    "sigmoid": lambda a, b: [node("Sigmoid", [a], [b])],
    "pad channels": lambda a, b: [node("Pad", [a, "more"], [b])],
    "pad ones": lambda a, b: [node("Pad", [a, "pads", "six"], [b])],
    "sum": lambda a, b: [node("Add", [a, "x"], [b])],
    "turned": lambda a, b: [node("Transpose", [a], [b], perm=[0, 1, 3, 2])],
}
CONSTANTS = {
    "zero": np.float32(0),
    "six": np.float32(1.5),
    "minus": np.float32(-0.5),
    "least": np.finfo(np.float32).min,
    "largest": np.finfo(np.float32).max,
    "pads": np.array([0, 0, 1, 0, 0, 0, 1, 2]),
    "more": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
}


def drawn(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def chain_of(names: list[str], depthwise: bool = False, seed: int = 0) -> onnx.ModelProto:
    """A convolution, the operators of these names, another convolution."""
    nodes = [node("Conv", ["x", "w", "b"], ["v0"], pads=[1] * 4)]
    for number, name in enumerate(names):
        nodes += (BETWEEN | OPAQUE)[name](f"v{number}", f"v{number + 1}")
    channels = 5 if "pad channels" in names else 4
    weights: dict[str, Any] = {"w": drawn(4, 4, 3, 3, seed=seed) / 4, "b": drawn(4, seed=seed) / 2}
    weights["u"] = drawn(
        channels if depthwise else 6, 1 if depthwise else channels, 2, 2, seed=seed
    )
    last: dict[str, Any] = {"group": channels} if depthwise else {}
    nodes.append(node("Conv", [f"v{len(names)}", "u"], ["y"], **last))
    used = {name for one in nodes for name in one.input}
    weights |= {name: value for name, value in CONSTANTS.items() if name in used}
    return model_of(nodes, {"x": ["N", 4, 9, 9]}, weights)


def partitioned(model: onnx.ModelProto) -> Plan:
    return api.plan(model, stop_after="partition")


def found_chain(model: onnx.ModelProto, layer: str = "u") -> str | None:
    plan = partitioned(model)
    layers = {entry.name: entry for entry in plan.layers}
    (last,) = [one for one in array_nodes(plan.graph) if layer_of(one) == layer]
    chain = chain_to(last, layers)
    return None if chain is None else chain.source


@pytest.mark.parametrize("name", BETWEEN)
def test_the_layer_before_takes_the_scales_over(name: str) -> None:
    assert found_chain(chain_of([name])) == "w"
    assert found_chain(chain_of([name], depthwise=True)) == "w"


@pytest.mark.parametrize("name", OPAQUE)
def test_nothing_takes_them_over_where_they_do_not_pass(name: str) -> None:
    assert found_chain(chain_of([name])) is None


def test_a_value_with_other_readers_keeps_its_scale() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "u"], ["c"]),
        node("Sigmoid", ["r"], ["s"]),
        node("Add", ["c", "s"], ["y"]),
    ]
    weights = {"w": drawn(4, 4, 1, 1), "u": drawn(4, 4, 1, 1, seed=1)}
    assert found_chain(model_of(nodes, {"x": ["N", 4, 5, 5]}, weights)) is None
    read = model_of(nodes[:3], {"x": ["N", 4, 5, 5]}, weights, outputs=("c", "r"))
    assert found_chain(read) is None


def test_products_pass_scales_on_to_products_only() -> None:
    weights = {"w": drawn(4, 6), "u": drawn(6, 3)}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"])]
    plain = [*nodes, node("MatMul", ["r", "u"], ["y"])]
    assert found_chain(model_of(plain, {"x": ["N", 4]}, weights)) == "w"
    seen = {"w": drawn(6, 4, 1), "u": drawn(6, 3)}
    mixed = [node("Conv", ["x", "w"], ["a"]), node("MatMul", ["a", "u"], ["y"])]
    assert found_chain(model_of(mixed, {"x": ["N", 4, 6]}, seen)) is None


def test_a_layer_that_is_used_twice_takes_nothing_over() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "w"], ["b"]),
        node("Relu", ["b"], ["s"]),
        node("MatMul", ["s", "u"], ["y"]),
    ]
    model = model_of(nodes, {"x": ["N", 4]}, {"w": drawn(4, 4), "u": drawn(4, 3)})
    plan = partitioned(model)
    (last,) = [one for one in array_nodes(plan.graph) if layer_of(one) == "u"]
    others = {entry.name: entry for entry in plan.layers if entry.name != "w"}
    assert chain_to(last, others) is None


def test_new_values_have_names_of_their_own() -> None:
    plan = partitioned(chain_of(["clip both", "max"]))
    layers = {entry.name: entry for entry in plan.layers}
    first, last = array_nodes(plan.graph)
    before = names_in_use(plan.graph)
    for one in (first, last):
        scale_inputs(one, layers[layer_of(one)], chain_to(one, layers), np.arange(1.0, 5.0))
    nodes = list(plan.graph.graph)
    names = [value.name for one in nodes for value in one.outputs]
    assert len(set(names)) == len(names)
    assert [one.op_type for one in nodes] == ["Mul", "Array", "Max", "Min", "MaxPool", "Array"]
    assert before - names_in_use(plan.graph) <= {"minus", "six", "v1"}


def test_limits_that_float32_does_not_hold_are_none() -> None:
    """Exporters write the largest number where there is no limit."""
    model = chain_of(["clip at the largest"])
    plan = partitioned(model)
    layers = {entry.name: entry for entry in plan.layers}
    _, last = array_nodes(plan.graph)
    scale_inputs(last, layers["u"], chain_to(last, layers), np.array([0.5, 1.0, 2.0, 4.0]))
    high = plan.graph.graph.initializers["v0/limited#2/min"].const_value
    assert high is not None
    assert high.numpy().reshape(-1).tolist()[2:] == [np.inf, np.inf]
