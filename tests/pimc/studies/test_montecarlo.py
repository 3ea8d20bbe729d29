"""Many dies of one image, whoever measures them."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from pimc.data.dataset import Dataset, Preprocess
from pimc.errors import DataError
from pimc.runtime.die.die import Die
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, accuracy
from pimc.studies.montecarlo import measure_dies, measure_session
from pimc.work.processes import Processes


@pytest.fixture(scope="module")
def batches(tiny_inputs) -> Batches:
    """Labelled bytes that have to be converted."""
    stored = np.clip(tiny_inputs * 32 + 128, 0, 255).astype(np.uint8)
    preprocess = Preprocess(scale=32.0, mean=(4.0,))
    return Batches(Dataset.of(stored, np.arange(64) % 4, preprocess=preprocess), 16)


@pytest.fixture(scope="module")
def wanted(tiny_image, batches) -> list[float]:
    """Accuracy of eight dies, each measured by a session of its own."""
    return [
        accuracy(Session(tiny_image, die=Die.simulated(seed), seed=seed), batches)
        for seed in range(8)
    ]


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    """Two workers."""
    with Processes(2) as opened:
        yield opened


def test_a_session_with_another_die_is_a_new_session_on_that_die(tiny_image, tiny_inputs) -> None:
    first = Session(tiny_image, die=Die.simulated(1), seed=1)
    before = first.run(None, {"x": tiny_inputs})[0]
    second = first.with_die(Die.simulated(2), seed=2)
    fresh = Session(tiny_image, die=Die.simulated(2), seed=2).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(second.run(None, {"x": tiny_inputs})[0], fresh)
    assert (first.device.name, second.device.name) == ("sim:1", "sim:2")
    assert second.executor is first.executor
    assert not np.array_equal(before, fresh)
    # The first one still reads its own die.
    again = first.with_die(first.device).run(None, {"x": tiny_inputs})[0]
    assert not np.array_equal(again, fresh)
    np.testing.assert_allclose(again, before, atol=0.5)


def test_the_graph_is_read_once_for_all_dies(tiny_image, batches, monkeypatch, wanted) -> None:
    built: list[int] = []
    original = Executor.__init__

    def build(self, *arguments, **options):
        built.append(1)
        original(self, *arguments, **options)

    monkeypatch.setattr(Executor, "__init__", build)
    trials = measure_dies(tiny_image, batches, range(8))
    assert [trial.accuracy for trial in trials] == wanted
    assert len(built) <= 1


def test_no_die_outlives_its_turn(tiny_image, batches, monkeypatch) -> None:
    drawn: list[weakref.ref[Die]] = []
    alive: list[int] = []

    def draw(seed: int) -> Die:
        die = Die(seed=seed)
        drawn.append(weakref.ref(die))
        alive.append(sum(ref() is not None for ref in drawn))
        return die

    monkeypatch.setattr(Die, "simulated", staticmethod(draw))
    measure_dies(tiny_image, batches, range(6))
    # The new one, and the last one until its place is taken.
    assert alive == [1, 2, 2, 2, 2, 2]


def test_worker_processes_measure_the_same_and_report_in_order(
    tiny_image, batches, wanted, pool
) -> None:
    seen = []

    def watch(items, description, total=None):
        for item in items:
            seen.append((description, total))
            yield item

    trials = measure_dies(tiny_image, batches, range(8), pool=pool, progress=watch)
    assert [trial.accuracy for trial in trials] == wanted
    assert [trial.die for trial in trials] == [f"sim:{seed}" for seed in range(8)]
    assert all(trial.seconds > 0 for trial in trials)
    assert seen == [("dies", 8)] * 8
    assert len(set(wanted)) > 1


def test_a_worker_killed_by_id_changes_nothing(tiny_image, batches, wanted, pool) -> None:
    killed: list[int] = []

    def kill_one(items, description, total=None):
        for item in items:
            if not killed:
                workers = [
                    child.pid
                    for child in psutil.Process().children()
                    if any("popen_loky" in part for part in child.cmdline())
                ]
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)
            yield item

    trials = measure_dies(tiny_image, batches, range(8), pool=pool, progress=kill_one)
    assert len(killed) == 1
    assert [trial.accuracy for trial in trials] == wanted


def test_what_cannot_be_measured_is_said_wherever_it_is_found(
    tiny_image, tiny_inputs, pool
) -> None:
    beyond = Batches(Dataset.of(tiny_inputs, np.full(64, 4), name="data.npz"), 16)
    with pytest.raises(DataError, match=r"data.npz: label 4 is beyond"):
        measure_dies(tiny_image, beyond, range(2), pool=pool)
    with pytest.raises(DataError, match=r"data.npz: label 4 is beyond"):
        measure_session(Session(tiny_image), beyond)


def test_a_copy_of_batches_has_its_inputs_prepared(batches) -> None:
    import pickle

    copy = pickle.loads(pickle.dumps(batches))
    assert copy.data.is_prepared
    assert not batches.data.is_prepared
    for (x, samples), (x2, samples2) in zip(batches, copy, strict=True):
        np.testing.assert_array_equal(x["x"], x2["x"])
        np.testing.assert_array_equal(samples.targets["y"], samples2.targets["y"])
