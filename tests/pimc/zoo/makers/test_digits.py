"""Networks that are trained here, on a small table in place of the real one."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from pimc.zoo.made import Made
from pimc.zoo.makers import digits
from pimc.zoo.wheels import Wheels


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch) -> Wheels:
    """240 pictures of ten classes that differ in which pixels are bright."""
    monkeypatch.setattr(digits, "_TRAIN", 160)
    monkeypatch.setattr(digits, "_CALIB", 200)
    rng = np.random.default_rng(0)
    y = np.arange(240) % 10
    x = rng.integers(0, 5, (240, 64))
    for place, one in enumerate(y):
        x[place, 6 * one : 6 * one + 6] = 16
    stream = io.StringIO()
    np.savetxt(stream, np.c_[x, y], delimiter=",", fmt="%d")
    path = tmp_path / "scikit_learn-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(digits._FILE, gzip.compress(stream.getvalue().encode()))
    return Wheels({"scikit-learn": path})


def outputs(made: Made) -> np.ndarray:
    session = ort.InferenceSession(made.model)
    return session.run(None, {"x": made.test["x"].astype(np.float32) / 16})[0]


def test_a_classifier_learns_its_digits_and_comes_out_the_same_again(wheels: Wheels) -> None:
    made = digits.cnn(wheels)
    assert (outputs(made).argmax(axis=1) == made.test["y"]).mean() > 0.9
    assert len(made.calib["x"]) == len(made.test["x"]) == 40
    assert made.files() == digits.cnn(wheels).files()


def test_an_autoencoder_has_never_seen_its_anomaly(wheels: Wheels) -> None:
    made = digits.autoencoder(wheels)
    assert 0 < made.test["y"].sum() < len(made.test["y"])
    error = ((outputs(made) - made.test["x"] / 16) ** 2).mean(axis=1)
    anomalous = made.test["y"] == 1
    assert error[anomalous].mean() > error[~anomalous].mean()
