"""What ``pimc recover`` refuses: one message, and no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.image.image import Image


def test_with_several_images_the_candidates_are_listed(pimc, recovery_job, noisy) -> None:
    noisy.save("b.pimc")
    for command in ("recover", "capture"):
        done = pimc(command, "--calib", "data", "--json")
        assert done.code == 2
        assert "b.pimc, tiny.pimc" in done.json["error"]["hint"]
        assert "Traceback" not in done.err


def contents(folder: Path) -> dict[str, str]:
    return {entry.name: sha256_file(entry) for entry in folder.iterdir() if entry.is_file()}


def few_samples(job: Path, image: Image) -> tuple[str, ...]:
    np.save("few.npy", np.zeros((5, 2, 8, 8), np.float32))
    return "--calib", "few.npy"


def wrong_shape(job: Path, image: Image) -> tuple[str, ...]:
    np.save("wrong.npy", np.zeros((50, 3, 8, 8), np.float32))
    return "--calib", "wrong.npy"


def no_teacher(job: Path, image: Image) -> tuple[str, ...]:
    layers = (replace(v, teacher_weight=None, teacher_bias=None) for v in image.layers)
    image.with_layers(layers).save("tiny.pimc")
    return "--calib", "data"


def damaged_die(job: Path, image: Image) -> tuple[str, ...]:
    data = Path("chip.die").read_bytes()
    Path("chip.die").write_bytes(data[: len(data) // 2])
    return "--calib", "data", "--die", "chip.die"


def given(*arguments: str) -> Callable[[Path, Image], tuple[str, ...]]:
    return lambda job, image: arguments


@pytest.mark.parametrize(
    ("prepare", "code", "message"),
    [
        (given(), 2, "--calib"),
        (given("--calib", "nowhere"), 2, "nowhere"),
        (given("--calib", "data", "--die", "chip.die", "--dies", "2"), 2, "exclude each other"),
        (given("--calib", "data", "--dies", "0"), 2, "--dies"),
        (given("--calib", "data", "--budget", "101"), 2, "--budget"),
        (given("--calib", "data", "--rounds", "-1"), 2, "--rounds"),
        (given("--calib", "data", "--device", "bench"), 2, "no such device"),
        (given("--calib", "data", "--data", "nowhere"), 2, "nowhere"),
        (given("missing.pimc", "--calib", "data"), 2, "missing.pimc"),
        (few_samples, 2, "too few"),
        (wrong_shape, 2, "wrong.npy"),
        (no_teacher, 2, "no float weights"),
        (damaged_die, 3, "chip.die"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    pimc, recovery_job, noisy, prepare, code, message
) -> None:
    arguments = prepare(recovery_job, noisy)
    before = contents(recovery_job)
    done = pimc("recover", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    assert contents(recovery_job) == before


@pytest.mark.parametrize(
    ("strategy", "option"),
    [
        ("affine", ("--budget", "5")),
        ("none", ("--epochs", "2")),
        ("full-rewrite", ("--rounds", "1")),
        ("vat", ("--train", "gain")),
        ("residual", ("--budget", "10")),
        ("layerwise", ("--residual", "3")),
    ],
)
def test_an_option_that_a_strategy_has_no_use_for_is_refused(
    pimc, recovery_job, strategy, option
) -> None:
    done = pimc("recover", "--calib", "data", "--die", "chip.die", "--strategy", strategy, *option)
    assert done.code == 2
    assert f"strategy {strategy}: {option[0]} would change nothing" in done.err


def test_without_calibration_data_nothing_is_done(pimc, recovery_job) -> None:
    done = pimc("recover")
    assert done.code == 2
    assert "--calib is missing" in done.err
