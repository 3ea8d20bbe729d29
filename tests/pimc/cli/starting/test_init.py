"""``pimc init`` writes pimc.toml from what lies in the folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest


def read() -> dict:
    return tomllib.loads(Path("pimc.toml").read_text())


def test_what_lies_there(pimc, model: Path) -> None:
    Path("chip.toml").write_text(pimc("chips", "generic-128", "--toml").out)
    done = pimc("init", "--seed", "900")
    assert (done.code, read()) == (
        0,
        {"model": "tiny.onnx", "chip": "chip.toml", "calib": ".", "seed": 900},
    )
    assert "not found  data" in done.out
    assert pimc("info", "tiny.pimc").code == 2
    assert pimc("check").code == 0  # the model comes from the file


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        (["data/calib.npz", "data/test.npz"], {"calib": "data", "data": "data"}),
        (["data/calib.npz", "data/val/cat/a.png"], {"calib": "data", "data": "data"}),
        (["dataset/train/cat/a.png", "test.npz"], {"calib": "dataset", "data": "."}),
        # The same pictures would be calibrated and measured on.
        (["data/cat/a.png", "data/dog/b.png"], {"calib": "data"}),
        (["data/notes.txt", "x.npy"], {}),
    ],
)
def test_folders_of_data(pimc, here: Path, files: list[str], keys: dict[str, str]) -> None:
    for name in files:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    assert pimc("init").code == 0
    assert read() == {**keys, "seed": 0}


def test_what_is_given_comes_first(pimc, model: Path) -> None:
    np.savez("other.npz", x=np.zeros(1))
    options = ["--model", "a.onnx", "--chip", "ihp", "--calib", "other.npz", "--data", "d"]
    done = pimc("init", *options, "--task", "audio", "--json")
    keys = {"model": "a.onnx", "chip": "ihp", "calib": "other.npz", "data": "d", "task": "audio"}
    assert done.json == {"output": "pimc.toml", "keys": keys | {"seed": 0}, "missing": []}
    assert read() == keys | {"seed": 0}


def test_a_file_that_is_there_stays(pimc, model: Path) -> None:
    Path("pimc.toml").write_text("seed = 5\n")
    done = pimc("init")
    assert done.code == 2
    assert "is there already" in done.err
    assert read() == {"seed": 5}
    assert pimc("init", "--force").code == 0
    assert read()["model"] == "tiny.onnx"


def test_of_several_networks_one_must_be_named(pimc, model: Path) -> None:
    Path("b.onnx").touch()
    done = pimc("init")
    assert done.code == 2
    assert "b.onnx, tiny.onnx" in done.err


@pytest.mark.parametrize("name", ['it"s', "µ", "a\\b"])
def test_any_name_is_valid_toml(pimc, here: Path, name: str) -> None:
    assert pimc("init", "--model", f"{name}.onnx").code == 0
    assert read()["model"] == f"{name}.onnx"
