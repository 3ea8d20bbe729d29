"""A state in a file is the same state."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pimc.errors import RecoveryError
from pimc.files import container
from pimc.image.image import Image
from pimc.passes.recover.bench.state import State, Writes
from pimc.passes.recover.bench.stored import FORMS, restored, stored
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.recovery import Stage


def rich(image: Image) -> State:
    """A state in which every field holds something."""
    state = State.first(image, 3)
    generator = state.generator()
    generator.manual_seed(9)
    known = state.estimates[1]
    known = replace(known, mean_us=known.mean_us + 0.1, rank=known.rank + 4)
    cells = np.flatnonzero(image.used)[:5]
    levels = image.levels.reshape(-1)[cells][::-1].copy()
    state = replace(
        state.drawn(generator),
        estimates={**state.estimates, 1: known},
        learnt=2,
        proposed=Writes(cells, levels, 1),
    ).written()
    narrow = state.image.updated(
        columns={0: {"gain": image.layers[0].gain * 2}},
        layers=[{**entry, "adc_lsb_us": 0.5} for entry in image.manifest["layers"]],
    )
    state = replace(state, image=narrow)
    for number, loss in enumerate((0.1 + 0.2, 0.25, 1.0)):
        agreement = None if number else 0.75
        stage = Stage(f"step {number}", loss, agreement, number, 1.5, {"w": 1 / 3})
        state = state.judged(stage, np.array([number, 0.1 + 0.2], np.float32))
    return replace(state, image=image, proposed=Writes(cells[:2], levels[:2], 2))


def through_a_file(state: State, parent: Image, path: Path) -> State:
    note, tensors = stored(state, parent)
    container.save(path, *container.seal("state", 1, {"state": note}, tensors))
    manifest, found = container.load(path, "state", 1, RecoveryError)
    return restored(manifest["state"], found, parent)


def same_image(one: Image, other: Image) -> bool:
    return one.to_bytes() == other.to_bytes()


def test_every_field_has_a_form() -> None:
    assert list(FORMS) == [field.name for field in fields(State)]


def test_what_comes_out_is_what_went_in(tiny_image, tmp_path) -> None:
    state = rich(tiny_image)
    found = through_a_file(state, tiny_image, tmp_path / "a")
    assert same_image(found.image, state.image)
    assert state.kept is not None
    assert found.kept is not None
    assert (found.kept.loss, found.kept.since) == (0.25, 1)
    assert found.kept.value.stage == 1
    np.testing.assert_array_equal(found.kept.value.each, np.array([1, 0.1 + 0.2], np.float32))
    assert same_image(found.kept.value.image, state.kept.value.image)
    assert not same_image(found.kept.value.image, found.image)
    assert found.stages == state.stages
    assert found.learnt == 2
    np.testing.assert_array_equal(found.random, state.random)
    for name in ("cells", "levels", "round"):
        np.testing.assert_array_equal(getattr(found.proposed, name), getattr(state.proposed, name))
    np.testing.assert_array_equal(found.all_writes(), state.all_writes())
    assert list(found.estimates) == list(state.estimates)
    for index, known in state.estimates.items():
        for field in fields(CellEstimate):
            mine, theirs = getattr(found.estimates[index], field.name), getattr(known, field.name)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("judged", [True, False])
def test_of_the_first_state_next_to_nothing_is_stored(tiny_image, tmp_path, judged) -> None:
    state = State.first(tiny_image, 0)
    if judged:
        state = state.judged(Stage("as programmed", 1.0, None, 0, 0.5, {}))
    _, tensors = stored(state, tiny_image)
    assert not [name for name in tensors if name.startswith(("image.", "kept."))]
    found = through_a_file(state, tiny_image, tmp_path / "a")
    assert same_image(found.image, tiny_image)
    assert (found.kept is not None) == judged
