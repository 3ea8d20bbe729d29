"""The MLPerf Tiny benchmark on a stand-in: it goes on where it was cut, says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.studies.evaluate import float_session

SCRIPT = Path(__file__).with_name("bench_mlperf_tiny.py")


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture
def data(tmp_path, tiny_model, tiny_image, tiny_inputs):
    """The folder of the benchmark with one network, in place of keyword spotting."""
    folder = tmp_path / "data" / "kws"
    folder.mkdir(parents=True)
    onnx.save(tiny_model(), folder / "model.onnx")
    np.savez(folder / "calib.npz", x=tiny_inputs)
    some = tiny_inputs[:20]
    labels = float_session(tiny_image).run(None, {"x": some})[0].argmax(axis=1)
    np.savez(folder / "test.npz", x=some, y=labels)
    (folder / "data.toml").write_text('layout = "NCHW"\nmean = [0.0]\n')
    return folder.parent


def test_dies_are_added_to_those_that_are_there(data, tmp_path) -> None:
    arguments = ["--data", data, "--output", tmp_path / "out", "--recover=--strategy=affine"]
    first = bench("kws", *arguments, "--dies", 1)
    kept = (tmp_path / "out" / "kws" / "die0.json").read_bytes()
    row = first.stdout.splitlines()[-1]
    assert row.startswith("| keyword spotting | accuracy, % | 20 | 1 | ")
    assert row.count("|") == first.stdout.splitlines()[0].count("|")
    again = bench("kws", "ic", *arguments, "--dies", 2)
    assert (tmp_path / "out" / "kws" / "die0.json").read_bytes() == kept
    assert "skipped ic: model.onnx, calib.npz, test.npz not found in" in again.stdout
    assert "| keyword spotting | accuracy, % | 20 | 2 | " in again.stdout
