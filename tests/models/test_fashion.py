"""The shipped Fashion-MNIST model and data, and the script that builds them."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import re
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from pimc.errors import PimcError

Array = NDArray[np.uint8]

MODELS = Path(__file__).parents[2] / "models"
FASHION = MODELS / "fashion"
BUILT = ("resnet8.onnx", "calib.npz", "test.npz", "data.toml")
PREFIXES = (("train", 600), ("t10k", 200))


def load(path: Path) -> tuple[Array, Array]:
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {"x", "y"}
        return archive["x"], archive["y"]


def accuracy(folder: Path, sample: str) -> float:
    """Share of right answers, with the preprocessing read from data.toml, not from the builder."""
    rule = tomllib.loads((folder / "data.toml").read_text())
    x, y = load(folder / sample)
    mean, std = (np.reshape(rule[key], (1, -1, 1, 1)) for key in ("mean", "std"))
    inputs = ((x / rule["scale"] - mean) / std).astype(np.float32)
    session = ort.InferenceSession(folder / "resnet8.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": inputs})
    return float((logits.argmax(1) == y).mean())


def stated(folder: Path, row: str) -> tuple[int, float]:
    """Image count and accuracy from the README's row that begins with ``row``."""
    pattern = rf"^\| {re.escape(row)} \| ([\d,]+) \| ([\d.]+)% \|$"
    found = re.search(pattern, (folder / "README.md").read_text(), re.MULTILINE)
    assert found, row
    return int(found[1].replace(",", "")), float(found[2]) / 100


def digests(folder: Path) -> dict[str, str]:
    rows = re.findall(
        r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M
    )
    return dict(rows)


@pytest.mark.parametrize(
    ("sample", "row"), [("test.npz", "`test.npz`"), ("calib.npz", "`calib.npz` (not trained on)")]
)
def test_shipped_model_reaches_the_stated_accuracy(sample: str, row: str) -> None:
    count, expected = stated(FASHION, row)
    assert count == 2000
    # One image of 2,000 may fall on the other side with other kernels.
    assert accuracy(FASHION, sample) == pytest.approx(expected, abs=0.0006)


def test_stated_accuracy_on_the_full_test_set_is_good_enough_and_near_the_sample() -> None:
    count, full = stated(FASHION, "full test set")
    assert count == 10_000
    assert full >= 0.925
    assert stated(FASHION, "`test.npz`")[1] == pytest.approx(full, abs=0.012)


def test_readme_hashes_are_right() -> None:
    actual = {name: hashlib.sha256((FASHION / name).read_bytes()).hexdigest() for name in BUILT}
    assert digests(FASHION) == actual


@pytest.mark.parametrize("sample", ["calib.npz", "test.npz"])
def test_sample_has_the_documented_form_and_balanced_classes(sample: str) -> None:
    x, y = load(FASHION / sample)
    assert x.shape == (2000, 1, 28, 28)
    assert x.dtype == y.dtype == np.uint8
    assert y.shape == (2000,)
    assert np.bincount(y).tolist() == [200] * 10
    assert x.min() == 0
    assert x.max() == 255


def test_no_image_is_in_both_samples() -> None:
    calib, test = ({image.tobytes() for image in load(FASHION / f)[0]} for f in BUILT[1:3])
    assert not calib & test


def test_model_has_the_documented_interface_and_its_batch_norms() -> None:
    model = onnx.load(FASHION / "resnet8.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input": ["N", 1, 28, 28], "logits": ["N", 10]}
    ops = [node.op_type for node in model.graph.node]
    counts = {op: ops.count(op) for op in ("Conv", "BatchNormalization", "Add", "Gemm")}
    assert counts == {"Conv": 9, "BatchNormalization": 9, "Add": 3, "Gemm": 1}
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in model.graph.initializer)


def test_any_batch_size_runs_and_images_do_not_influence_each_other() -> None:
    session = ort.InferenceSession(FASHION / "resnet8.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(5, 1, 28, 28)).astype(np.float32)
    (together,) = session.run(None, {"input": x})
    alone = np.concatenate([session.run(None, {"input": x[i : i + 1]})[0] for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_models_folder_is_small_and_carries_the_licence() -> None:
    files = [p for p in MODELS.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 4_000_000
    text = (FASHION / "LICENSE.fashion-mnist").read_text()
    assert "2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(MODELS)
    return importlib.import_module("build_fashion")


def write_idx(path: Path, array: Array) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data set in the published form: class k is a bright bar in row 2k of a noisy image."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "idx"
    folder.mkdir()
    for prefix, count in PREFIXES:
        y = (np.arange(count) % 10).astype(np.uint8)
        x = rng.integers(0, 40, (count, 28, 28), dtype=np.uint8)
        x[np.arange(count), 2 + 2 * y] = 255
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", x)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", y)
    return folder


def test_build_writes_what_it_measured_and_the_same_bytes_again(
    builder: ModuleType, small: Path, tmp_path: Path
) -> None:
    recipe = builder.Recipe(epochs=2, batch=20, sample=100, threads=1)
    for name in ("a", "b"):
        builder.build(small, tmp_path / name, recipe)
    first, second = tmp_path / "a", tmp_path / "b"
    assert {p.name for p in first.iterdir()} == {*BUILT, "README.md"}
    assert digests(first) == digests(second)
    actual = {name: hashlib.sha256((first / name).read_bytes()).hexdigest() for name in BUILT}
    assert digests(first) == actual
    assert stated(first, "full test set")[0] == 200
    count, expected = stated(first, "`test.npz`")
    assert count == 100
    assert accuracy(first, "test.npz") == pytest.approx(expected, abs=0.011)
    assert np.bincount(load(first / "calib.npz")[1]).tolist() == [10] * 10


def test_the_shipped_readme_is_what_the_template_gives(builder: ModuleType) -> None:
    shipped = (FASHION / "README.md").read_text(encoding="utf-8")
    shares = {row: stated(FASHION, row)[1] for row in ("full test set", "`test.npz`")}
    figures = builder.Figures(
        parameters=77_754,
        trained_on=58_000,
        seconds=720,
        recipe=str(builder.Recipe()),
        shift=builder.Recipe().shift,
        momentum=builder.MOMENTUM,
        channels=builder.CHANNELS,
        opset=builder.OPSET,
        torch_version="2.13.0",
        calib=stated(FASHION, "`calib.npz` (not trained on)")[1],
        test_full=shares["full test set"],
        test_count=10_000,
        test_sample=shares["`test.npz`"],
        sample_count=builder.Recipe().sample,
        sha256=digests(FASHION),
    )
    assert builder.readme_text(figures) == shipped
    assert (FASHION / "data.toml").read_text(encoding="utf-8") == builder.DATA_TOML


def test_out_that_is_a_file_is_refused(
    builder: ModuleType, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    assert builder.main(["--data", str(small), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_dry_run_writes_nothing(
    builder: ModuleType, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.build(small, None, builder.Recipe(epochs=1, batch=20, sample=100, threads=1))
    assert "held-out training images" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["idx"]


def test_missing_data_says_how_to_get_it(
    builder: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert builder.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "train-images-idx3-ubyte.gz" in message
    assert "dataset-fashion-mnist" in message
    assert "--data" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"plain text", "cannot be read"),
        (gzip.compress(bytes(200))[:-9], "cannot be read"),
        (gzip.compress(b"\0\0\x08\1" + bytes(4)), "not an IDX file"),
        (gzip.compress(b"\0\0\x08\3\0\0"), "cannot be read"),
        (
            gzip.compress(b"\0\0\x08\3" + np.array([9, 28, 28], ">u4").tobytes() + b"x"),
            "do not make the array (9, 28, 28)",
        ),
        (
            gzip.compress(b"\0\0\x08\3" + np.array([1, 28, 28], ">u4").tobytes() + bytes(784)),
            "do not match",
        ),
    ],
    ids=["text", "cut gzip", "wrong axes", "cut header", "cut body", "too few images"],
)
def test_damaged_data_is_refused(
    builder: ModuleType,
    small: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    problem: str,
) -> None:
    (small / "train-images-idx3-ubyte.gz").write_bytes(content)
    assert builder.main(["--data", str(small), "--dry-run"]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_a_useless_number_of_epochs_is_refused(builder: ModuleType, epochs: str) -> None:
    with pytest.raises(SystemExit) as refused:
        builder.main(["--epochs", epochs, "--dry-run"])
    assert refused.value.code == 2


@pytest.mark.parametrize(("sample", "batch"), [(0, 20), (105, 20), (700, 20), (100, 600)])
def test_a_recipe_that_the_data_cannot_fill_is_refused(
    builder: ModuleType, small: Path, sample: int, batch: int
) -> None:
    recipe = builder.Recipe(epochs=1, batch=batch, sample=sample, threads=1)
    with pytest.raises(PimcError):
        builder.build(small, None, recipe)
