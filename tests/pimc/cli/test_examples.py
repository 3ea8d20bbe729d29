"""The example at the end of every command's help runs as it stands."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.cli.registry import commands
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_image: Image, tiny_inputs) -> Path:
    """What the examples speak of: a model, its images, data, a programmed die, measured cells."""
    folder: Path = tmp_path_factory.mktemp("examples")
    ages = {"log_shift_us": -0.02, "log_sigma_us": 0.01, "sigma_1s_us": 0.05, "kind": "log"}
    retention = {f"retention.{key}": value for key, value in ages.items()}
    tiny_image = tiny_image.with_chip(tiny_image.chip.with_(**retention))
    onnx.save(tiny_model(), folder / "model.onnx")
    tiny_image.save(folder / "model.pimc")
    levels = tiny_image.levels.copy()
    levels[tuple(np.argwhere(tiny_image.used)[0])] ^= 1
    recovered = tiny_image.updated(levels=levels)
    recovered.save(folder / "model.r1.pimc")
    report = {"die": "sim:7", "strategy": "selective", "sha256": recovered.sha256, "stages": []}
    (folder / "model.r1.report.json").write_text(json.dumps(report))
    die = Die.simulated(7)
    Session(tiny_image, die=die)
    die.save(folder / "chip7.die")
    (folder / "data").mkdir()
    labels = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    for name in ("calib", "test"):
        np.savez(folder / "data" / f"{name}.npz", x=tiny_inputs, y=labels)
    np.save(folder / "x.npy", tiny_inputs[:4])
    (folder / "measured.csv").write_text("level,mean_us,sigma_us\n0,2,0.2\n1,20,0.8\n2,40,0.9\n")
    return folder


@pytest.mark.parametrize("name", commands())
def test_the_example_runs(pimc, called, folder: Path, tmp_path: Path, monkeypatch, name) -> None:
    for number, (command, found) in enumerate(called(name).items()):
        before, line = (found.epilog or "").rsplit("\n", 1)
        example = line.strip()
        assert before.endswith("Example:")
        assert f"{example} ".startswith(f"pimc {command} ")
        monkeypatch.chdir(shutil.copytree(folder, tmp_path / str(number)))
        done = pimc(*shlex.split(example)[1:])
        assert done.code == 0, f"{example}\n{done.err}"
        assert done.out.strip()
