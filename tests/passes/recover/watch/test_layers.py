"""What layers give is kept whole, on the disk too, and what fits into memory follows from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.passes.recover.watch import layers as watched
from pimc.passes.recover.watch.layers import Room, Taught, layer_outputs
from pimc.plan.records import layer_of
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.runtime.teacher import teacher_array


@pytest.fixture(scope="module")
def session(tiny_model, tiny_inputs, tiny_chip) -> Session:
    return Session(compile_model(tiny_model(), tiny_chip, calib=tiny_inputs))


def feed(session: Session, x: np.ndarray) -> dict[str, torch.Tensor]:
    return {session.get_inputs()[0].name: torch.from_numpy(x)}


@pytest.mark.parametrize("in_memory", [1 << 30, 100])
def test_outputs_are_kept_to_be_taken_in_any_order(
    session: Session, tiny_inputs, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(watched, "_SHELF_BYTES", in_memory)
    teacher, given = teacher_array(session.image), feed(session, tiny_inputs)
    direct: dict[str, torch.Tensor] = {}

    def noted(node, x: torch.Tensor) -> torch.Tensor:
        direct[layer_of(node)] = y = teacher(node, x)
        return y

    session.evaluate(given, array=noted)
    found = layer_outputs(session, teacher, given)
    assert {name for name, _ in found.places} == set(direct)
    for name in (*reversed(direct), *direct):
        kept = torch.cat(found.take((name, 0)))
        torch.testing.assert_close(kept, direct[name], rtol=0, atol=0)


def test_the_float_network_is_run_once(session: Session, tiny_inputs) -> None:
    teacher, given, runs = teacher_array(session.image), feed(session, tiny_inputs), []

    def counted(node, x: torch.Tensor) -> torch.Tensor:
        runs.append(layer_of(node))
        return teacher(node, x)

    taught = Taught()
    shelf, count = taught.of(session, counted, given), len(runs)
    assert set(runs) == {layer.name for layer in session.image.layers}
    assert taught.of(session, counted, given) is shelf
    assert len(runs) == count


def test_room_is_that_of_the_outputs(
    session: Session, tiny_inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, sizes = teacher_array(session.image), []

    def noted(node, x: torch.Tensor) -> torch.Tensor:
        y = teacher(node, x)
        sizes.append(y.numel())
        return y

    one = feed(session, tiny_inputs[:1])
    session.evaluate(one, array=noted)
    monkeypatch.setattr(watched, "_VALUES", 3 * sum(sizes) + 1)
    assert Room.of(session, teacher, one) == (3, (3 * sum(sizes) + 1) // max(sizes))
    monkeypatch.setattr(watched, "_VALUES", 1)
    assert Room.of(session, teacher, one) == (1, 1)


def test_layers_of_many_samples_meet_and_keep_the_order_of_samples(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teacher_array(session.image)
    (arg,) = session.get_inputs()
    x = torch.randn(7, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    whole = layer_outputs(session, teacher, {arg.name: x})
    met: list[tuple[str, list[int]]] = []

    def doubled(node, parts):
        met.append((layer_of(node), [len(part) for part in parts]))
        return [teacher(node, part) for part in parts]

    monkeypatch.setattr("pimc.runtime.session.BATCH_SIZE", 3)
    session.evaluate_together({arg.name: x}, doubled)
    assert [name for name, _ in met] == [name for name, _ in whole.places]
    assert all(sizes == [3, 3, 1] for _, sizes in met)
    parts = layer_outputs(session, teacher, {arg.name: x})
    for call, places in parts.places.items():
        assert len(places) == 3
        torch.testing.assert_close(torch.cat(parts.take(call)), whole.take(call)[0])


def test_a_state_that_counts_samples_second_keeps_them_together(tiny_chip) -> None:
    rng = np.random.default_rng(5)
    tensors = {"w": rng.standard_normal((10, 6)), "v": rng.standard_normal((6, 6))}
    first = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 10])
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, "N", 6])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])
    nodes = [
        helper.make_node("Squeeze", ["state", "first"], ["s"]),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["s", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    held = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in tensors.items()]
    held.append(numpy_helper.from_array(np.array([0]), "first"))
    graph = helper.make_graph(nodes, "net", [first, state], [end], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(compile_model(model, tiny_chip))
    count = 2 * BATCH_SIZE + 1
    given = {"x": torch.randn(count, 10), "state": torch.randn(1, count, 6)}
    found = layer_outputs(session, teacher_array(session.image), given)
    assert [len(places) for places in found.places.values()] == [1, 1]
