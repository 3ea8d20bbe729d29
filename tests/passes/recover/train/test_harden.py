"""Training a network for the errors that writing it will make."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.train.harden import HardenedCache, HardenOptions, hardened
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin
from pimc.runtime.die.die import Die
from pimc.runtime.feeds import tensors
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array


@pytest.fixture(scope="module", params=["offset", "differential", "sliced"])
def image(request, tiny_model, tiny_inputs) -> Image:
    chip = Chip.default().with_array(64, 32).with_mapping(request.param).with_sigma(0.12)
    return compile_model(tiny_model(), chip, calib=tiny_inputs, options=Options(feedback=False))


@pytest.fixture(scope="module")
def calib() -> Dataset:
    return Dataset.of(np.random.default_rng(3).standard_normal((512, 2, 8, 8)).astype(np.float32))


def trained(image: Image, data: Dataset, **options: Any) -> Image:
    chosen = HardenOptions(**{"epochs": 8, "batch_size": 32, **options})
    return hardened(image, data, chosen, seed=1)


def mean_loss(image: Image, data: Dataset, distill: bool, dies: int = 8) -> float:
    """The loss that is trained on, on freshly written dies, mean over them."""
    x = data.batch(0, len(data))
    ideal = Session(image)
    (feed,), (out,) = ideal.get_inputs(), ideal.get_outputs()
    values = {feed.name: torch.from_numpy(x)}
    wanted = list(ideal.evaluate(values, array=teacher_array(image)).values())
    goal = Goal.of(None, wanted)
    losses = []
    for seed in range(dies):
        found = Session(image, die=Die.simulated(seed), seed=seed).evaluate(values, want=[out.name])
        if distill:
            losses.append(float(goal.loss([found[out.name]], wanted)))
        else:
            classes = wanted[0].argmax(1)
            losses.append(float(torch.nn.functional.cross_entropy(found[out.name], classes)))
    return float(np.mean(losses))


@pytest.mark.parametrize("distill", [True, False])
def test_dies_written_afterwards_lose_less(image, calib, distill) -> None:
    unseen = Dataset.of(np.random.default_rng(9).standard_normal((64, 2, 8, 8)).astype(np.float32))
    found = trained(image, calib, distill=distill)
    assert mean_loss(found, unseen, distill) < 0.95 * mean_loss(image, unseen, distill)


def test_only_cells_in_use_and_biases_change(image, calib) -> None:
    found = trained(image, calib, epochs=1)
    changed = found.levels != image.levels
    assert changed.any()
    assert not changed[~image.used].any()
    assert int(found.levels.max()) < image.chip.cell.levels
    differing = {
        name.rpartition(".")[2]
        for name, value in found.tensors.items()
        if not np.array_equal(image.tensors[name], value)
    }
    assert differing == {"levels", "bias"}


def test_the_same_seed_gives_the_same_bytes(image, calib) -> None:
    first, second = (trained(image, calib, epochs=1) for _ in range(2))
    assert first.to_bytes() == second.to_bytes()
    untrained = trained(image, calib, epochs=0)
    np.testing.assert_array_equal(untrained.levels, image.levels)
    assert untrained.options["harden"] == 0


def test_dies_of_one_command_share_the_training(pimc, image, calib, here, monkeypatch) -> None:
    calls = []

    def counted(*arguments: Any, **named: Any) -> Image:
        calls.append(1)
        return image

    monkeypatch.setattr("pimc.passes.recover.train.harden.harden", counted)
    image.save(here / "a.pimc")
    np.save(here / "x.npy", calib.batch(0, 48))
    for strategy in ("vat", "vat-kd"):
        given = ("recover", "a.pimc", "--calib", "x.npy", "--dies", 2, "--strategy", strategy)
        done = pimc(*given)
        assert done.code == 0, done.err
    assert len(calls) == 2


def test_other_held_out_data_is_another_training(image, calib) -> None:
    session = Session(image)
    names = tuple(arg.name for arg in session.get_outputs())
    student = Student(session.executor, Twin({}), teacher_array(image), names)
    parts = [calib.subset(np.arange(start, start + 32)) for start in (0, 32, 64)]
    goal, cache = Goal.of(None, student.teach(tensors(parts[0].all_inputs()))[0]), HardenedCache()
    options = HardenOptions(epochs=1)

    def trained(held_out: Dataset, seed: int = 0) -> Image:
        return cache.hardened(image, student, goal, parts[0], held_out, options, seed)

    first = trained(parts[1])
    assert trained(parts[1]) is first
    assert trained(parts[2]) is not first
    assert trained(parts[2], seed=1) is not trained(parts[2])


def test_compile_hardens_on_request(pimc, tiny_model, tiny_inputs, here) -> None:
    onnx.save(tiny_model(), here / "tiny.onnx")
    np.save(here / "x.npy", tiny_inputs)
    assert pimc("compile", "tiny.onnx", "--calib", "x.npy", "-o", "plain.pimc").code == 0
    done = pimc("compile", "tiny.onnx", "--calib", "x.npy", "--harden", "-o", "hard.pimc")
    assert done.code == 0, done.err
    plain, hard = Image.load(here / "plain.pimc"), Image.load(here / "hard.pimc")
    assert (plain.levels != hard.levels).any()
    for arguments in (["--harden"], ["--harden", "--calib", "x.npy", "--no-teacher"]):
        done = pimc("compile", "tiny.onnx", *arguments)
        assert done.code == 2
        assert "calibration data" in done.err
