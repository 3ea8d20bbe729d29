"""What layers give is kept whole, on the disk too, and what fits into memory follows from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.passes.recover.watch import layers as watched
from pimc.passes.recover.watch.layers import Room, layer_outputs
from pimc.plan.records import layer_of
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array


@pytest.fixture(scope="module")
def session(tiny_model, tiny_inputs, tiny_chip) -> Session:
    return Session(compile_model(tiny_model(), tiny_chip, calib=tiny_inputs))


def feed(session: Session, x: np.ndarray) -> dict[str, torch.Tensor]:
    return {session.get_inputs()[0].name: torch.from_numpy(x)}


@pytest.mark.parametrize("in_memory", [1 << 30, 100])
def test_outputs_are_kept_until_they_are_taken(
    session: Session, tiny_inputs, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(watched, "_SHELF_BYTES", in_memory)
    teacher, given = teacher_array(session.image), feed(session, tiny_inputs)
    direct: dict[str, torch.Tensor] = {}

    def noted(node, x: torch.Tensor) -> torch.Tensor:
        direct[layer_of(node)] = y = teacher(node, x)
        return y

    session.evaluate(given, array=noted)
    with layer_outputs(session, teacher, given) as found:
        assert {name for name, _ in found.places} == set(direct)
        # In another order than they came in.
        for name in reversed(direct):
            torch.testing.assert_close(found.take((name, 0)), direct[name], rtol=0, atol=0)
        assert not found.places


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
