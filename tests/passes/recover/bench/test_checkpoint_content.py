"""Checkpoints with right hashes and wrong content: refused in one sentence, or gone on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.errors import RecoveryError
from pimc.image.image import Image
from pimc.passes.recover.bench.checkpoint import FORMAT, VERSION, Checkpoint
from pimc.passes.recover.bench.state import State
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from tests.passes.recover.bench.test_stored import rich
from tests.resealing import Content, changes_of, content_of, names, reseal

JOB = {"image": "", "die": "", "strategy": "selective", "options": "", "calibration data": ""}


@pytest.fixture(autouse=True)
def one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "_job", lambda self, bench: JOB)


def bench_of(image: Image) -> Any:
    """A bench with a device on which the writes of the state below were done."""
    device = SimDevice(Die.simulated(7), image.chip, image.arrays, read_seed=7)
    program(image, device)
    return SimpleNamespace(device=device)


@pytest.fixture(scope="module")
def state(tiny_image: Image) -> State:
    return rich(tiny_image)


@pytest.fixture
def content(tiny_image: Image, state: State, tmp_path: Path) -> Content:
    checkpoint = Checkpoint(tmp_path / "x.recovery", tiny_image, "selective")
    checkpoint.save(bench_of(tiny_image), state, 3)
    return content_of(checkpoint.path, FORMAT, VERSION)


def load(content: Content, image: Image, path: Path, change: Any) -> tuple[int, State]:
    checkpoint = Checkpoint(reseal(content, path, change), image, "selective")
    return checkpoint.load(bench_of(image), State.first(image, 0))


def put(name: str, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content.tensors[name].reshape(-1)[0] = value

    return change


def added(name: str, value: Any, *, less: int = 0) -> Callable[[Content], None]:
    """A tensor of cells that is left out where nothing was learnt, of this value everywhere."""

    def change(content: Content) -> None:
        cells = content.tensors["state.estimates.1.mean_us"]
        content.tensors[name] = np.full(cells[less:].shape, value)

    return change


def cut(name: str) -> Callable[[Content], None]:
    return lambda content: content.tensors.update({name: content.tensors[name][:-1]})


def keyed(*path: str | int, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content.keys
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


def test_what_was_saved_is_gone_on_from(content, state, tiny_image, tmp_path) -> None:
    done, found = load(content, tiny_image, tmp_path / "a", lambda content: None)
    assert done == 3
    assert found.stages == state.stages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("state.estimates.1.mean_us", np.nan), "tensor estimates.1.mean_us holds values"),
        (added("state.estimates.1.variance", -1.0), "tensor estimates.1.variance holds values"),
        (
            added("state.estimates.1.variance", 1.0, less=1),
            "tensor estimates.1.variance is float64",
        ),
        (added("state.estimates.1.present", False), "tensor estimates.1.present is not where"),
        (put("state.estimates.0.rank", 99), "tensor estimates.0.rank holds values"),
        (put("state.proposed.cells", -1), "tensor proposed.cells holds values"),
        (put("state.proposed.levels", 99), "tensor proposed.levels holds values"),
        (put("state.writes.0", 10**6), "tensor writes.0 holds cells that the image has not"),
        (cut("state.random.state"), "tensor random.state is no state of a generator"),
        (put("state.kept.layer.0000.gain", np.inf), "tensor layer.0000.gain holds values"),
        (put("device.cells.g_us", np.nan), "tensor device.cells.g_us holds values"),
        (put("device.reads", -1), "tensor device.reads holds values"),
        (put("device.stress", -1), "tensor device.stress holds values"),
        (lambda c: c.tensors.pop("device.cells.level"), "has no tensor device.cells.level"),
        (lambda c: c.tensors.pop("state.estimates.1.rank"), "has no tensor estimates.1.rank"),
        (lambda c: c.tensors.pop("state.writes.0"), "writes"),
        (keyed("done", value=-1), "done: must be a whole number, 0 or more"),
        (keyed("done", value=None), "done: must be a whole number"),
        (keyed("job", value=[]), "job: must be an object"),
        (keyed("state", value=3), "state: must be an object"),
        (keyed("state", "learnt", value="x"), "learnt: must be a whole number"),
        (keyed("state", "estimates", value=[0]), "estimates: they are not of the layers"),
        (keyed("state", "stages", value=3), "stages: must be a list"),
        (keyed("state", "stages", 0, "loss", value="x"), "stage 0: loss: must be a number"),
        (keyed("state", "stages", 0, "layer_errors", "w", value="x"), "layer_errors: must be"),
        (keyed("state", "kept", "stage", value=99), "kept.stage: there are 3 stages"),
        (keyed("state", "kept", "since", value=-1), "kept: since: must be a whole number"),
        (keyed("state", "image", value=None), "layers: must be a list of objects"),
        (keyed("state", "image", 0, "name", value="other"), "tensor graph: its nodes Array"),
        (keyed("state", "writes", value=7), "writes: 7 are named, 1 are there"),
    ],
)
def test_what_is_wrong_is_named(content, tiny_image, tmp_path, change, message) -> None:
    with pytest.raises(RecoveryError) as caught:
        load(content, tiny_image, tmp_path / "x.recovery", change)
    assert caught.value.exit_code == 2
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "x.recovery"))
    assert "without --resume" in (caught.value.hint or "")


def test_one_change_is_refused_or_gone_on_from(content, tiny_image, tmp_path) -> None:
    """Of any tensor or key: type, shape, value or absence."""

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        change = data.draw(changes_of(content))
        try:
            load(content, tiny_image, tmp_path / "x.recovery", change.apply)
        except RecoveryError as error:
            refused = str(error)
        else:
            return
        # Cells that do not hold what was written are told of as such.
        assert names(change, refused) or "cells do not hold" in refused, f"{change}: {refused}"

    each()
