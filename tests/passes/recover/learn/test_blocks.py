"""Where networks are cut into blocks."""

from __future__ import annotations

import onnx
import pytest

from pimc import api
from pimc.passes.recover.learn.blocks import Segment, segments
from tests.passes.lowered_nets import drawn, model_of, node


def cut(model: onnx.ModelProto) -> tuple[Segment, ...]:
    return segments(api.plan(model, stop_after="partition").graph)


def chain(count: int) -> onnx.ModelProto:
    nodes = []
    for n in range(count):
        nodes.append(node("MatMul", [f"r{n}" if n else "x", f"w{n}"], [f"h{n}"]))
        nodes.append(node("Relu", [f"h{n}"], [f"r{n + 1}"]))
    nodes[-1].output[0] = "y"
    return model_of(nodes, {"x": ["N", 8]}, {f"w{n}": drawn(8, 8) + n for n in range(count)})


def wide(branches: int) -> onnx.ModelProto:
    """Branches of two layers each that meet in a sum."""
    nodes = [node("MatMul", ["x", "w"], ["s"])]
    for n in range(branches):
        nodes.append(node("MatMul", ["s", f"u{n}"], [f"h{n}"]))
        nodes.append(node("Relu", [f"h{n}"], [f"r{n}"]))
        nodes.append(node("MatMul", [f"r{n}", f"v{n}"], [f"b{n}"]))
    nodes.append(node("Sum", [f"b{n}" for n in range(branches)], ["m"]))
    nodes.append(node("MatMul", ["m", "z"], ["y"]))
    weights = {name: drawn(8, 8) + k / 9 for k, name in enumerate("wz")}
    weights |= {f"u{n}": drawn(8, 8) + n + 0.5 for n in range(branches)}
    weights |= {f"v{n}": drawn(8, 8) - n - 1 for n in range(branches)}
    return model_of(nodes, {"x": ["N", 8]}, weights)


def layers(parts: tuple[Segment, ...]) -> list[tuple[str, ...]]:
    return [block.layers for part in parts for block in part.blocks]


def test_a_chain_is_trained_in_pairs_that_end_behind_the_activation() -> None:
    parts = cut(chain(5))
    assert layers(parts) == [("w0", "w1"), ("w2", "w3"), ("w4",)]
    assert [part.end for part in parts] == [("r2",), ("r4",), ()]
    assert [part.start for part in parts] == [(), ("r2",), ("r4",)]


def test_the_last_layer_is_held_to_what_it_gives_itself() -> None:
    assert cut(chain(1))[0].blocks[0].outputs == ("h0",)


def test_branches_that_meet_are_one_block() -> None:
    parts = cut(wide(2))
    assert layers(parts) == [("w",), ("u0", "v0", "u1", "v1"), ("z",)]
    assert parts[1].blocks[0].outputs == ("m",)


def test_a_part_of_too_many_layers_is_trained_layer_by_layer() -> None:
    parts = cut(wide(7))
    assert len(parts) == 3
    found = parts[1].blocks
    assert len(found) == 14
    assert found[0].layers == ("u0",)
    assert (found[1].inputs, found[1].outputs) == (("r0",), ("b0",))


@pytest.mark.parametrize("early", [False, True])
def test_outputs_on_the_way_count(early: bool) -> None:
    nodes = [
        node("MatMul", ["x", "a"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "b"], ["early"]),
        node("MatMul", ["r", "c"], ["y"]),
    ]
    weights = {name: drawn(8, 8) + k for k, name in enumerate("abc")}
    model = model_of(nodes, {"x": ["N", 8]}, weights)
    if early:
        model.graph.output.append(onnx.helper.make_tensor_value_info("early", 1, ["N", 8]))
    found = {name for part in cut(model) for block in part.blocks for name in block.outputs}
    assert ("early" in found) == early
    assert "y" in found
