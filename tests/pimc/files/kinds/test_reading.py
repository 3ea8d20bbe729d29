"""Every command that is given the wrong kind of file names what it is and the command for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pimc.errors import DataError, ImageError, ModelError
from pimc.files.kinds.reading import read_as
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from tests.pimc.files.kinds.test_table import die


@pytest.fixture
def files(tiny_model, tiny_image, tiny_inputs, here) -> Path:
    """One file of every kind that commands take, under names that say nothing."""
    onnx.save(tiny_model(), "onnx")
    tiny_image.save("image")
    tiny_image.save("tiny.pimc")
    die(Path("die"))
    np.savez("data.npz", x=tiny_inputs, y=np.zeros(len(tiny_inputs), int))
    np.savez("x.npz", x=tiny_inputs)
    torch.save({"w": torch.zeros(2)}, "model.pt")
    return here


MODEL = "onnx: this is an ONNX model, not "
IMAGE = "image: this is a chip image, not "
DIE = "die: this is a die file, not "
DATA = "data.npz: this is an .npz file of arrays, not "


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ("eval onnx --data data.npz", MODEL + "a chip image", "`pimc compile onnx`"),
        ("info .", ".: no such file: this is a folder", "name an existing file"),
        ("info die", DIE + "a chip image", "`--die die`"),
        ("verify data.npz", DATA + "a chip image", "`--calib`"),
        ("diff tiny.pimc onnx", MODEL + "a chip image", "`pimc compile onnx`"),
        ("recover die --calib data.npz", DIE + "a chip image", "`--die die`"),
        ("check image", IMAGE + "an ONNX model", "`pimc info image`"),
        ("compile die -o new.pimc", DIE + "an ONNX model", "`--die die`"),
        ("layouts data.npz", DATA + "an ONNX model", "`--data`"),
        ("compile model.pt", "model.pt: this is a PyTorch file", "torch.onnx.export("),
        ("sweep image --data data.npz --over levels=4", IMAGE + "an ONNX model", "`pimc info"),
        ("eval tiny.pimc --data image", IMAGE + "data", "`pimc info image`"),
        ("compile onnx --calib die", DIE + "data", "`--die die`"),
        ("run tiny.pimc --input onnx", MODEL + "data", "`pimc compile onnx`"),
        ("compile onnx --chip image", IMAGE + "a chip file", "`pimc info image`"),
        ("chips die", DIE + "a chip file", "`--die die`"),
        ("compile onnx --faults onnx", MODEL + "a fault map", "`pimc compile onnx`"),
        ("chips import die", DIE + "a table of measured", "`--die die`"),
        ("recover tiny.pimc --calib data.npz --since image", IMAGE + "the report", "`pimc info"),
    ],
)
def test_a_wrong_kind_of_file_is_named(pimc, files, arguments, said, hint) -> None:
    before = sorted(files.iterdir())
    done = pimc(*arguments.split())
    assert done.code == 2
    assert f"error: {said}" in done.err
    assert hint in done.err
    assert "internal error" not in done.err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("program tiny.pimc --die image", IMAGE + "a die file"),
        ("run tiny.pimc --input x.npz --die onnx", MODEL + "a die file"),
        ("age 1d --die data.npz", DATA + "a die file"),
    ],
)
def test_so_is_what_stands_for_a_die(pimc, files, arguments, said) -> None:
    done = pimc(*arguments.split())
    assert (done.code, f"error: {said}" in done.err) == (3, True)


def test_a_recording_is_a_capture(pimc, files) -> None:
    done = pimc(*["run", "tiny.pimc", "--input", "x.npz", "--device", "replay", "--die", "die"])
    assert (done.code, "not a capture" in done.err) == (2, True)


def test_python_is_told_the_same(files) -> None:
    with pytest.raises(ImageError, match="this is an ONNX model"):
        Image.load("onnx")
    with pytest.raises(ModelError, match="this is a PyTorch file") as caught:
        load_model("model.pt")
    assert "torch.onnx.export" in str(caught.value)


def test_an_error_at_a_file_of_the_right_kind_stays_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    cause = DataError("wrong shape", "x.npy")

    @read_as("data")
    def reader(path: Path) -> None:
        raise cause

    for path in (tmp_path / "x.npy", tmp_path / "nowhere.npy"):
        with pytest.raises(DataError, match="wrong shape") as caught:
            reader(path)
        assert caught.value is cause
        assert caught.value.__cause__ is None
