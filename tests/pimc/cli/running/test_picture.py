"""A picture as the input of ``pimc run``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pimc.cli.running.picture import class_of
from pimc.image.image import Image as ChipImage

SETTINGS = """
scale = 255.0
mean = [0.5, 0.4, 0.3]
std = [0.2, 0.25, 0.3]
resize = 10
crop = [8, 8]
interpolation = "bicubic"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds the strongest colour, and images of three classes."""
    root = tmp_path_factory.mktemp("pictures")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(root / "m.onnx"))
    rng = np.random.default_rng(0)
    for number in range(18):
        picture = rng.integers(0, 90, (9, 14, 3), dtype=np.uint8)
        picture[..., number % 3] += 150
        kind = root / "data" / ["red", "green", "blue"][number % 3]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(kind / f"{number}.png")
    (root / "data" / "data.toml").write_text(SETTINGS)
    return root


@pytest.fixture
def compiled(pimc, folder: Path, here: Path) -> Path:
    done = pimc("compile", folder / "m.onnx", "--calib", folder / "data", "-o", "m.pimc")
    assert done.code == 0, done.err
    return folder


def test_the_image_says_how_and_what(compiled: Path) -> None:
    note = ChipImage.load(Path("m.pimc")).calibration
    assert note is not None
    assert (note.resize, note.crop, note.interpolation) == (10, (8, 8), "bicubic")
    assert note.classes == ("blue", "green", "red")


def test_a_picture_is_prepared_as_calibration_data_were(pimc, compiled: Path) -> None:
    photo = compiled / "data" / "green" / "4.png"
    done = pimc("run", "m.pimc", "--input", photo, "--ideal", "--json", "-o", "a.npy")
    assert done.code == 0, done.err
    assert done.json["class"]["class"] == 1
    assert done.json["class"]["name"] == "green"
    from pimc.data.dataset import load_data

    data = load_data(compiled / "data")
    places = np.flatnonzero(data.y == 1)
    np.save("x.npy", data.subset(places).all())
    assert pimc("run", "m.pimc", "--input", "x.npy", "--ideal", "-o", "b.npy").code == 0
    names = sorted(path.name for path in (compiled / "data" / "green").iterdir())
    wanted = np.load("b.npy")[names.index("4.png")]
    np.testing.assert_allclose(np.load("a.npy")[0], wanted, rtol=1e-6, atol=1e-6)
    text = pimc("run", "m.pimc", "--input", photo, "--ideal")
    assert "class    green, number 1, value" in text.out


def test_what_was_recovered_says_it_too(pimc, compiled: Path) -> None:
    data = ("--calib", compiled / "data", "--data", compiled / "data")
    done = pimc("recover", "m.pimc", *data, "--dies", 1, "--strategy", "affine")
    assert done.code == 0, done.err
    before, after = (ChipImage.load(Path(name)).calibration for name in ("m.pimc", "m.r1.pimc"))
    assert after == before
    done = pimc("run", "m.r1.pimc", "--input", compiled / "data" / "red" / "0.png", "--json")
    assert done.code == 0, done.err
    assert done.json["class"]["name"] in ("blue", "green", "red")


@pytest.mark.parametrize(
    ("size", "message"), [((5, 5), None), ((30, 40), None), (None, "is no readable image")]
)
def test_pictures_of_any_size(
    pimc, compiled: Path, size: tuple[int, int] | None, message: str | None
) -> None:
    if size is None:
        Path("a.png").write_bytes(b"no picture")
    else:
        Image.new("L", size, 100).save("a.png")
    done = pimc("run", "m.pimc", "--input", "a.png", "--ideal")
    assert done.code == (0 if message is None else 2)
    assert (message or "") in done.err


def test_pictures_that_cannot_be_prepared(pimc, folder: Path, here: Path) -> None:
    np.save("calib.npy", np.random.default_rng(0).random((8, 3, 8, 8), np.float32))
    photo = folder / "data" / "red" / "0.png"
    assert pimc("compile", folder / "m.onnx", "-o", "none.pimc").code == 0
    done = pimc("run", "none.pimc", "--input", photo)
    assert done.code == 2
    assert "does not say how pictures are prepared" in done.err
    assert pimc("compile", folder / "m.onnx", "--calib", "calib.npy", "-o", "m.pimc").code == 0
    done = pimc("run", "m.pimc", "--input", photo)
    assert done.code == 2
    assert "is 9x14, and the network takes 8x8" in done.err
    assert "no such file" in pimc("run", "m.pimc", "--input", "no.jpg").err
    assert not list(here.glob("*.npz"))


def test_which_outputs_list_classes() -> None:
    assert class_of({"y": np.array([[0.5, 2.0]])}, ("a",)) == {
        "class": 1,
        "name": None,
        "value": 2.0,
    }
    assert class_of({"y": np.zeros((1, 2, 3))}, ()) is None
    assert class_of({"y": np.zeros((1, 1))}, ()) is None
