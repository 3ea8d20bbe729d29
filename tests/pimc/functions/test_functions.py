"""What the commands do, as functions: the same results, and what they take besides files."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pimc
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import DataError, ImageError, UsageError
from pimc.image.image import Image
from pimc.passes.recover import DistillOptions, RecoverOptions
from pimc.runtime.capture import Capture, CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import observer
from pimc.runtime.door.drivers import open_device
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, accuracy, float_session
from pimc.studies.recoveries.summary import Target
from pimc.tasks.embedding import Embedding
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def image(tiny_model, tiny_inputs) -> Image:
    chip = Chip.default().with_array(64, 32).with_sigma(0.12)
    return pimc.compile(tiny_model(), chip, calib=tiny_inputs)


@pytest.fixture(scope="module")
def labelled(image) -> Dataset:
    x = np.random.default_rng(5).standard_normal((64, 2, 8, 8)).astype(np.float32)
    return Dataset.of(x, float_session(image).run(None, {"x": x})[0].argmax(axis=1))


def test_a_die_in_memory_is_written_once(image) -> None:
    die = Die.simulated(7)
    first = pimc.program(image, die)
    assert first.device == "sim:7"
    assert first.done.cells_written == int(image.used.sum())
    assert pimc.program(image, die).done.cells_written == 0
    wanted = Die.simulated(7)
    Session(image, die=wanted)
    np.testing.assert_array_equal(die.cells.g_us, wanted.cells.g_us)


def test_what_program_refuses_and_overwrites(image, tiny_model, here: Path) -> None:
    die = Die.simulated(7)
    pimc.program(image, die)
    other = image.updated(levels=15 - image.levels)
    with pytest.raises(UsageError, match="holds another network"):
        pimc.program(other, die)
    assert pimc.program(other, die, force=True).done.cells_written > 0
    with pytest.raises(UsageError, match="needs a file"):
        pimc.program(image)
    with pytest.raises(UsageError, match="no journal"):
        pimc.program(image, die, resume=True)


def test_a_die_file_is_that_of_the_command(pimc_command, image, here: Path) -> None:
    image.save(here / "a.pimc")
    assert pimc.program("a.pimc", "mine.die", seed=3).done.cells_written > 0
    assert pimc_command("program", "a.pimc", "--die", "theirs.die", "--seed", 3).code == 0
    assert (here / "mine.die").read_bytes() == (here / "theirs.die").read_bytes()
    assert not list(here.glob("*.journal"))
    assert pimc.program(image, "mine.die", resume=True).done.cells_written == 0


def test_a_capture_is_that_of_the_command(pimc_command, image, tiny_inputs, here: Path) -> None:
    image.save(here / "a.pimc")
    np.save(here / "x.npy", tiny_inputs)
    options = CaptureOptions(vectors=16, repeats=2)
    pimc.capture("a.pimc", "x.npy", options=options).save(here / "mine.pimccap")
    given = ("--calib", "x.npy", "--vectors", 16, "--repeats", 2, "-o", "theirs.pimccap")
    assert pimc_command("capture", "a.pimc", *given).code == 0
    assert (here / "mine.pimccap").read_bytes() == (here / "theirs.pimccap").read_bytes()
    # Of a die in memory, and of a session.
    one = pimc.capture(image, tiny_inputs, die=Die.simulated(4), options=options)
    session = Session(image, die=Die.simulated(4))
    two = pimc.capture(session, Dataset.of(tiny_inputs), options=options)
    assert isinstance(one, Capture)
    assert one.die == two.die == "sim:4"
    np.testing.assert_array_equal(one.layers[0].codes, two.layers[0].codes)


def test_verification(image, tiny_model, here: Path) -> None:
    onnx.save(tiny_model(), here / "tiny.onnx")
    found = pimc.verify(image, model="tiny.onnx", samples=2)
    assert found.ok
    assert {entry.part for entry in found.comparisons} >= {"array", "network", "source"}
    x = np.zeros((3, 2, 8, 8), np.float32)
    assert pimc.verify(image, {"x": x}).max_abs_error < 1e-3


def test_an_evaluation_is_that_of_the_command(pimc_command, image, labelled, here: Path) -> None:
    image.save(here / "a.pimc")
    np.savez(here / "test.npz", x=labelled.x, y=labelled.y)
    told = pimc_command("eval", "a.pimc", "--data", "test.npz", "--dies", 3, "--json").json
    for data in ("test.npz", labelled, Batches(labelled)):
        found = pimc.evaluate("a.pimc", data, dies=3)
        assert found.accuracy_per_die == told["accuracy_per_die"]
    assert found.float_accuracy == told["float_accuracy"] == 1.0
    assert found.accuracy == told["accuracy_mean"]
    assert list(found.interval_95) == told["accuracy_interval_95"]
    assert found.saturation == told["saturation"]
    assert (
        pimc.evaluate(image, labelled, dies=[1, 2]).accuracy_per_die == (found.accuracy_per_die[1:])
    )


def test_one_die_in_memory_in_a_file_or_in_a_session(image, labelled, here: Path) -> None:
    pimc.program(image, "seven.die", seed=7)
    wanted = accuracy(Session(image, die=Die.load("seven.die")), labelled)
    assert pimc.evaluate(image, labelled, die="seven.die").accuracy == wanted
    assert pimc.evaluate(image, labelled, die=Die.simulated(7)).accuracy == wanted
    session = Session(image, die=Die.simulated(7))
    assert pimc.evaluate(session, labelled, float_accuracy=False).float_accuracy is None
    with pytest.raises(UsageError, match="a session has its die"):
        pimc.evaluate(session, labelled, die=Die.simulated(7))
    with pytest.raises(UsageError, match="no dies"):
        pimc.evaluate(image, labelled, dies=[])
    with pytest.raises(UsageError, match="no such file"):
        pimc.evaluate(image, labelled, die="none.die")


def test_an_explanation_goes_on_from_an_evaluation(image, labelled) -> None:
    found = pimc.evaluate(image, labelled, dies=2)
    one = pimc.explain(image, labelled, dies=2, evaluation=found)
    assert one.to_dict() == pimc.explain(image, labelled, dies=2).to_dict()
    assert list(one.accuracies) == found.accuracy_per_die


def test_a_sweep_with_and_without_a_file(pimc_command, tiny_model, labelled, here: Path) -> None:
    onnx.save(tiny_model(), here / "tiny.onnx")
    np.savez(here / "test.npz", x=labelled.x, y=labelled.y)
    over: dict[str, list[Any]] = {"levels": [8, 16], "array": ["64x32"]}
    calib = Dataset.of(labelled.x)
    found = pimc.sweep("tiny.onnx", over, labelled, calib=calib, dies=2)
    again = pimc.sweep(tiny_model(), over, labelled, calib=calib, dies=2, output="mine.csv")
    assert [row["levels"] for row in found.rows] == [8, 16]
    given = ("--over", "levels=8,16", "--over", "array=64x32", "--calib", "test.npz", "--dies", 2)
    told = pimc_command("sweep", "tiny.onnx", *given, "--data", "test.npz", "--json").json
    for one, two, three in zip(found.rows, again.rows, told["rows"], strict=True):
        assert one["accuracy_per_die"] == two["accuracy_per_die"] == three["accuracy_per_die"]
    assert (
        pimc.sweep(tiny_model(), over, labelled, calib=calib, dies=2, output="mine.csv").measured
        == 0
    )
    with pytest.raises(UsageError, match="no such parameter"):
        pimc.sweep(tiny_model(), {"colour": [1]}, labelled)


def test_a_comparison(image, labelled) -> None:
    outcomes = pimc.compare(
        image, Dataset.of(labelled.x), labelled, strategies=["none", "affine"], dies=2, seed=4
    )
    assert [(one.strategy, one.seed) for one in outcomes] == [
        ("none", 4), ("none", 5), ("affine", 4), ("affine", 5),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no such strategy"):
        pimc.compare(image, labelled, strategies=["magic"])


def test_several_dies_come_out_as_each_alone(image, labelled, here: Path) -> None:
    options = RecoverOptions(rounds=1, distill=DistillOptions(epochs=0))
    kept: list[str] = []
    found = pimc.recover_dies(
        image,
        labelled,
        labelled,
        dies=[3, 8],
        options=options,
        keep=lambda job, done: kept.append(done.recovery.image.sha256),
    )
    assert list(here.iterdir()) == []
    for seed, row, sha256 in zip((3, 8), found.rows, kept, strict=True):
        device = open_device("sim", image, seed=seed)
        pimc.program(image, device)
        alone = pimc.recover(image, device, labelled, options)
        assert row["image_sha256"] == sha256 == alone.image.sha256
        assert row["loss_after"] == min(stage.loss for stage in alone.stages if stage.kept)
        session = Session(alone.image, die=observer(device, 0))
        assert row["accuracy_after"] == accuracy(session, labelled)
    told = found.summary(Target(drop=1.0))
    assert told["within"]["after"]["share"] == 1.0
    assert told["metric"]["before"]["mean"] == np.mean(
        [row["accuracy_before"] for row in found.rows]
    )
    assert (found.exit_code, found.failed, found.recovered) == (0, {}, 2)


def test_what_of_several_dies_is_refused(image, labelled, here: Path) -> None:
    with pytest.raises(UsageError, match="named twice"):
        pimc.recover_dies(image, labelled, dies=["a.die", "b.die", "a.die"])
    with pytest.raises(UsageError, match="no dies"):
        pimc.recover_dies(image, labelled, dies=[])
    both: Any = [3, "a.die"]
    with pytest.raises(UsageError, match="and the seed 3"):
        pimc.recover_dies(image, labelled, dies=both)
    with pytest.raises(DataError, match="too few"):
        pimc.recover_dies(image, labelled.subset(np.arange(5)), dies=2)
    bare = image.with_layers(
        replace(one, teacher_weight=None, teacher_bias=None) for one in image.layers
    )
    with pytest.raises(ImageError, match="no float weights"):
        pimc.recover_dies(bare, labelled, dies=2)
    found = pimc.recover_dies(image, labelled, dies=["a.die", "b.die"])
    assert (found.exit_code, found.recovered) == (2, 0)
    assert all("no such file" in why for why in found.failed.values())
    with pytest.raises(UsageError, match="needs labelled data"):
        found.summary(Target(value=0.9))


def test_the_page_lists_every_public_name() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in pimc.__all__:
        if not name.startswith("__"):
            assert re.search(rf"`pimc\.{name}\b", page), name
            assert inspect.getdoc(getattr(pimc, name))


@pytest.fixture(scope="module")
def pimc_command(request):
    """The command line, under a name that leaves the package's free."""
    return request.getfixturevalue("pimc")


def test_data_are_taken_as_arrays_and_as_files(image, labelled, tiny_model, here: Path) -> None:
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("data.npz", x=labelled.x, y=labelled.y)
    np.save("calib.npy", labelled.x)
    over = {"adc.bits": [6]}
    wanted = pimc.sweep("tiny.onnx", over, labelled, calib=Dataset.of(labelled.x), dies=1)
    for calib in (labelled.x, "calib.npy"):
        found = pimc.sweep("tiny.onnx", over, "data.npz", calib=calib, dies=1)
        assert found.rows[0]["accuracy_mean"] == wanted.rows[0]["accuracy_mean"]
        assert found.rows[0]["image_sha256"] == wanted.rows[0]["image_sha256"]
    assert pimc.verify(image, labelled.x).ok
    assert pimc.verify(image, "data.npz").ok


def test_tasks_by_class_and_numbers_of_dies(image, labelled) -> None:
    count: Any = np.int64(1)
    one = pimc.evaluate(image, labelled, dies=count, task=Embedding)
    assert one.task == Embedding()
    assert len(one.trials) == 1
    wrong: list[Any] = [1.5, "3"]
    for dies in wrong:
        with pytest.raises(UsageError, match="is no number of dies"):
            pimc.evaluate(image, labelled, dies=dies)
    with pytest.raises(UsageError, match="3: is no task"):
        pimc.evaluate(image, labelled, task=3)  # type: ignore[arg-type]
