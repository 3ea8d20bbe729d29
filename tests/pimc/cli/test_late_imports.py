"""What is refused for its arguments is refused before torch is imported, which takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimc

FASHION = Path(__file__).parents[3] / "models" / "fashion"
MODEL = FASHION / "resnet8.onnx"
#: Runs a command, and ends with 99 as soon as it imports torch.
COMMAND = """
import os, sys
class Late:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os._exit(99)
sys.meta_path.insert(0, Late())
from pimc.extras import EXTRAS
import importlib.util
find = importlib.util.find_spec
import pimc.extras
pimc.extras.find_spec = lambda name: True if name == "torch" else find(name)
sys.argv[0] = "pimc"
from pimc.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found: Path = tmp_path_factory.mktemp("late")
    data = np.load(FASHION / "calib.npz")
    (found / "few").mkdir()
    np.savez(found / "few" / "calib.npz", **{name: data[name][:2] for name in data.files})
    (found / "few" / "data.toml").write_text((FASHION / "data.toml").read_text())
    calib = pimc.load_data(FASHION, role="calib")
    pimc.compile(MODEL, calib=calib).save(found / "image.pimc")
    return found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("recover", "image.pimc", "--calib", "few"), "2 calibration samples are too few"),
        (("recover", "image.pimc", "--calib", FASHION, "--die", "no.die"), "no.die: no such file"),
        (("capture", "image.pimc", "--calib", FASHION, "--die", "no.die"), "no.die: no such file"),
        (("capture", "image.pimc", "--calib", "no.npz"), "no.npz: no such file or folder"),
        (("compensate", "image.pimc", "--calib", "no.npz"), "no.npz: no such file or folder"),
        (("layouts", MODEL, "--calib", "no.npz"), "no.npz: no such file or folder"),
        (("compile", MODEL, "--calib", "no.npz"), "no.npz: no such file or folder"),
    ],
    ids=str,
)
def test_arguments_are_refused_first(folder, words: tuple[Any, ...], told: str) -> None:
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert told in done.stderr
    assert done.returncode in (2, 3)


def test_compiling_with_calibration_data_imports_no_torch(folder) -> None:
    words = ["compile", str(MODEL), "--calib", str(FASHION), "-q", "-o", "again.pimc"]
    command = [sys.executable, "-c", COMMAND, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "again.pimc").read_bytes() == (folder / "image.pimc").read_bytes()
