"""The state of a recovery: never changed, and what becomes of it."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.files.container import canonical_json
from pimc.image.image import Image
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.state import State, Writes
from pimc.passes.recover.bench.stored import stored
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.strategies import strategy_named
from pimc.passes.recover.train.distill import DistillOptions
from pimc.progress import silent
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = RecoverOptions(
    budget=0.3,
    rounds=1,
    residual=0.05,
    influence_images=32,
    capture=CaptureOptions(vectors=96, repeats=2, images=32),
    distill=DistillOptions(epochs=2),
)


@pytest.fixture
def first(tiny_image: Image) -> State:
    return State.first(tiny_image, 5)


def stage(loss: float) -> Stage:
    return Stage("a", loss, None, 0, 1.0, {})


def fingerprint(state: State, parent: Image) -> str:
    """Of everything but the time that stages took."""
    stages = tuple(replace(one, seconds=0.0) for one in state.stages)
    note, tensors = stored(replace(state, stages=stages), parent)
    told = hashlib.sha256(canonical_json(note).encode())
    for name in sorted(tensors):
        told.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return told.hexdigest()


def test_it_cannot_be_changed(first) -> None:
    with pytest.raises(FrozenInstanceError):
        first.learnt = 1


def test_the_best_stage_is_kept_until_cells_are_written(first, tiny_image) -> None:
    better = tiny_image.updated(columns={0: {"bias": tiny_image.layers[0].bias + 1}})
    state = first.judged(stage(2.0))
    state = replace(state, image=better).judged(stage(1.0)).judged(stage(3.0)).judged(stage(1.0))
    assert state.stages_since_best == 2
    best = replace(state, image=tiny_image).keeping_best()
    assert best.image is better
    assert [one.kept for one in best.stages] == [False, True, False, False]
    assert not any(one.kept for one in state.stages)

    cells = np.flatnonzero(tiny_image.used)[:3]
    levels = ((tiny_image.levels.reshape(-1)[cells] + 1) % 16).astype(np.uint16)
    written = replace(best, proposed=Writes(cells, levels, 2)).written()
    assert (written.kept, written.stages_since_best) == (None, 0)
    np.testing.assert_array_equal(written.image.levels.reshape(-1)[cells], levels)
    before = tiny_image.levels.reshape(-1)[cells]
    expected = np.stack([cells, before, levels, [2, 2, 2]], axis=1)
    np.testing.assert_array_equal(written.all_writes(), expected)
    assert len(written.proposed.cells) == 0
    assert written.judged(stage(9.0)).stages_since_best == 0


def test_nothing_proposed_nothing_written(first) -> None:
    assert first.written() is first
    assert first.all_writes().shape == (0, 4)


def test_draws_go_on_where_the_last_ones_ended(first) -> None:
    whole = torch.Generator().manual_seed(5)
    wanted = [torch.rand(4, generator=whole) for _ in range(2)]
    generator = first.generator()
    assert torch.equal(torch.rand(4, generator=generator), wanted[0])
    after = first.drawn(generator)
    assert torch.equal(torch.rand(4, generator=after.generator()), wanted[1])
    assert torch.equal(torch.rand(4, generator=first.generator()), wanted[0])


@pytest.mark.parametrize("record", ["codes", "outputs"])
@pytest.mark.parametrize("train", [("gain", "bias"), ("gain", "levels")])
def test_steps_leave_the_state_they_are_given_alone(tiny_model, tiny_inputs, train, record) -> None:
    """Without a chip, whose reads count on, a step done twice gives the same twice."""
    chip = Chip.default().with_array(64, 32).with_sigma(0.08)
    image, data = compile_model(tiny_model(), chip, calib=tiny_inputs), Dataset.of(tiny_inputs)
    options = replace(OPTIONS, train=train)
    captured = capture(
        Session(image, die=Die.simulated(3)), data, replace(OPTIONS.capture, record=record)
    )
    bench = Bench.of(image, None, captured, data, options, Common(), silent)
    state, seen = State.first(image, 0), set()
    for step in strategy_named("selective").steps(options, chip=False):
        given = fingerprint(state, image)
        seen.add(given)
        once, twice = step(bench, state), step(bench, state)
        assert fingerprint(state, image) == given
        assert fingerprint(once, image) == fingerprint(twice, image)
        state = once
    # What the twin expects nothing of is not proposed.
    (paid,) = {one.paid for one in state.stages} - {None}
    assert paid or "levels" in train
    assert (len(state.all_writes()) > 0) == paid
    assert len(seen) >= 5
