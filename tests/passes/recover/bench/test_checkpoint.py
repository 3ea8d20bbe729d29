"""A recovery that is cut at any step and taken up again ends as if it had not been cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import RecoveryError
from pimc.files import container
from pimc.image.image import Image
from pimc.passes.recover.bench.checkpoint import FORMAT, VERSION, Checkpoint
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session

OPTIONS = RecoverOptions(
    rounds=2,
    influence_images=32,
    capture=CaptureOptions(vectors=96, repeats=2, images=32),
    distill=DistillOptions(epochs=2),
)
#: Judging, capturing, correcting, choosing and writing twice each, distilling.
STEPS = 8


class CutError(Exception):
    """The power went."""


def chip_of(**more: Any) -> Chip:
    return Chip.default().with_array(64, 32).with_sigma(0.1).with_(**more)


@pytest.fixture(scope="module", params=["plain", "telegraph and disturb"])
def image(request, tiny_model, tiny_inputs) -> Image:
    more = {"read_noise.relative": 0.01}
    if request.param != "plain":
        more |= {"read_noise.rtn_share": 0.1, "read_noise.rtn_dwell_samples": 40}
        more |= {"disturb.tau0_s": 1e3, "disturb.every_samples": 64}
    return compile_model(
        tiny_model(), chip_of(**more), calib=tiny_inputs, options=Options(feedback=False)
    )


@pytest.fixture(scope="module")
def calib() -> Dataset:
    return Dataset.of(np.random.default_rng(3).standard_normal((96, 2, 8, 8)).astype(np.float32))


def fresh(image: Image) -> SimDevice:
    device = SimDevice(Die.simulated(7), image.chip, image.arrays, read_seed=7)
    program(image, device)
    return device


def run(image: Image, calib: Dataset, path: Path | None) -> tuple[Recovery, SimDevice]:
    device = fresh(image)
    checkpoint = None if path is None else Checkpoint(path, image, "selective")
    return recover(image, device, calib, OPTIONS, checkpoint=checkpoint), device


@pytest.fixture(scope="module")
def whole(image, calib) -> tuple[Recovery, SimDevice]:
    return run(image, calib, None)


def cut_and_resumed(
    image: Image, calib: Dataset, path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> tuple[Recovery, SimDevice]:
    """A recovery that was cut after so many steps and taken up again."""
    save = Checkpoint.save

    def cut(self: Checkpoint, bench: Any, state: Any, done: int) -> None:
        save(self, bench, state, done)
        if done == steps:
            raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", cut)
        with pytest.raises(CutError):
            run(image, calib, path)
    return run(image, calib, path)


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_cut_after_any_step_the_result_is_the_same(
    image, calib, whole, tmp_path, monkeypatch, steps
) -> None:
    again, device = cut_and_resumed(image, calib, tmp_path / "a.recovery", monkeypatch, steps)
    same(again, device, whole)


def test_cut_within_a_step_the_result_is_the_same(
    image, calib, whole, tmp_path, monkeypatch
) -> None:
    """Right after cells were written: the writes are not yet in the checkpoint as done."""
    path, write, count = tmp_path / "a.recovery", SimDevice.program, 0

    def cut(self: SimDevice, cells: Any, levels: Any) -> Any:
        nonlocal count
        done = write(self, cells, levels)
        count += 1
        if count > image.arrays + 1:  # arrays of the image, then rounds of the recovery
            raise CutError
        return done

    monkeypatch.setattr(SimDevice, "program", cut)
    with pytest.raises(CutError):
        run(image, calib, path)
    monkeypatch.undo()
    again, device = run(image, calib, path)
    same(again, device, whole)


@pytest.mark.parametrize("steps", [6, 7])
def test_residual_and_trained_levels_are_taken_up_again(
    image, calib, tmp_path, monkeypatch, steps
) -> None:
    """Cut after the digital weights were added, and after trained levels were chosen."""
    options = replace(OPTIONS, rounds=1, residual=0.05, train=("gain", "levels"), budget=0.3)
    monkeypatch.setattr(f"{__name__}.OPTIONS", options)
    whole = run(image, calib, None)
    again, device = cut_and_resumed(image, calib, tmp_path / "a.recovery", monkeypatch, steps)
    same(again, device, whole)


def test_every_write_is_noted_before_it_is_done(image, calib, tmp_path, monkeypatch) -> None:
    device, count = fresh(image), 0
    checkpoint, write = Checkpoint(tmp_path / "a.recovery", image, "selective"), device.program

    def looked_up(cells: Any, levels: Any) -> Any:
        nonlocal count
        count += 1
        _, tensors = container.load(checkpoint.path, FORMAT, VERSION, RecoveryError)
        np.testing.assert_array_equal(tensors["state.proposed.cells"], cells)
        np.testing.assert_array_equal(tensors["state.proposed.levels"], levels)
        return write(cells, levels)

    monkeypatch.setattr(device, "program", looked_up)
    recover(image, device, calib, OPTIONS, checkpoint=checkpoint)
    assert count == OPTIONS.rounds


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_given_capture_is_learnt_from_once(image, calib, tmp_path, monkeypatch, steps) -> None:
    """Without a chip, cut before it was learnt from and at times after it."""
    captured = capture(Session(image, die=fresh(image)), calib, OPTIONS.capture)

    def without_chip(path: Path) -> Recovery:
        checkpoint = Checkpoint(path, image, "selective")
        return recover(image, None, calib, OPTIONS, captured=captured, checkpoint=checkpoint)

    whole, save = without_chip(tmp_path / "whole"), Checkpoint.save

    def cut(self: Checkpoint, bench: Any, state: Any, done: int) -> None:
        save(self, bench, state, done)
        if done == steps:
            raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", cut)
        with pytest.raises(CutError):
            without_chip(tmp_path / "cut")
    again = without_chip(tmp_path / "cut")
    assert again.image.to_bytes() == whole.image.to_bytes()
    assert [stage.loss for stage in again.stages] == [stage.loss for stage in whole.stages]


def same(again: Recovery, device: SimDevice, whole: tuple[Recovery, SimDevice]) -> None:
    expected, on = whole
    assert again.image.to_bytes() == expected.image.to_bytes()
    np.testing.assert_array_equal(again.writes, expected.writes)
    assert [stage.loss for stage in again.stages] == [stage.loss for stage in expected.stages]
    for name, value in vars(on.die.cells).items():
        np.testing.assert_array_equal(getattr(device.die.cells, name), value, err_msg=name)
    assert device.reads == on.reads


def test_another_job_is_refused(image, calib, tmp_path) -> None:
    path = tmp_path / "a.recovery"
    run(image, calib, path)
    with pytest.raises(RecoveryError, match="another recovery: calibration data"):
        run(image, calib.subset(np.arange(64)), path)
    with pytest.raises(RecoveryError, match="another recovery: strategy"):
        recover(
            image, fresh(image), calib, OPTIONS, strategy="affine",
            checkpoint=Checkpoint(path, image, "affine"),
        )  # fmt: skip


def test_one_of_an_earlier_pimc_is_refused(image, calib, tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.recovery"
    with monkeypatch.context() as patch:
        patch.setattr("pimc.passes.recover.bench.checkpoint.VERSION", 2)
        run(image, calib, path)
    with pytest.raises(RecoveryError, match="earlier pimc") as caught:
        run(image, calib, path)
    assert "without --resume" in (caught.value.hint or "")


def test_a_damaged_file_is_refused(image, calib, tmp_path) -> None:
    path = tmp_path / "a.recovery"
    run(image, calib, path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RecoveryError, match="truncated or damaged"):
        run(image, calib, path)
