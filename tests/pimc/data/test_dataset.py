"""Data: every format, and the conversion to the network's input."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimc.data.arrays
from pimc.data.dataset import Dataset, Preprocess, load_data
from pimc.errors import DataError
from pimc.files.key_table import key_table
from tests.pimc.data.data_files import IMAGES, LABELS, image, mnist_folder, npz, refused

# --- formats ---------------------------------------------------------------------------------


def test_npz(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path / "a.npz"))
    assert len(data) == 5
    assert data.name == "a.npz"
    assert data.x.dtype == np.uint8
    assert data.y is not None
    assert data.y.dtype == np.int64
    np.testing.assert_array_equal(data.y, LABELS)
    np.testing.assert_array_equal(data.all(), IMAGES.astype(np.float32))


def test_npz_without_labels(tmp_path: Path) -> None:
    assert load_data(npz(tmp_path / "a.npz", x=IMAGES)).y is None


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES.astype(np.float64) / 7)
    data = load_data(tmp_path / "a.npy")
    np.testing.assert_array_equal(data.all(), (IMAGES.astype(np.float64) / 7).astype(np.float32))


def test_large_npy_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pimc.data.arrays, "_MAP_BYTES", 100)
    np.save(tmp_path / "a.npy", IMAGES)
    data = load_data(tmp_path / "a.npy", overrides={"scale": 255})
    assert isinstance(data.x, np.memmap)
    np.testing.assert_array_equal(
        data.batch(1, 3), IMAGES[1:3].astype(np.float32) / np.float32(255)
    )


def test_idx_with_labels(tmp_path: Path) -> None:
    data = load_data(mnist_folder(tmp_path))
    assert data.sample_shape == (1, 4, 6)
    np.testing.assert_array_equal(data.all(), IMAGES[:, :1].astype(np.float32))
    assert data.y is not None
    np.testing.assert_array_equal(data.y, LABELS)


def test_idx_without_labels(tmp_path: Path) -> None:
    path = mnist_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    assert load_data(path).y is None


def test_idx_of_wider_numbers(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [3.25, 4.0]], dtype=">f4")
    head = struct.pack(">HBBII", 0, 0x0D, 2, 2, 2)
    (tmp_path / "a.gz").write_bytes(gzip.compress(head + values.tobytes()))
    np.testing.assert_array_equal(load_data(tmp_path / "a.gz").all(), values.astype(np.float32))


def test_image_folder(tmp_path: Path) -> None:
    colour = IMAGES.transpose(0, 2, 3, 1)
    image(tmp_path / "dog" / "b.png", colour[0])
    image(tmp_path / "cat" / "a.png", colour[1])
    image(tmp_path / "dog" / "a.png", colour[2])
    (tmp_path / "dog" / "notes.txt").write_text("x")
    data = load_data(tmp_path, input_shape=(None, 3, 4, 6))
    assert data.y is not None
    assert data.y.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(data.all(), IMAGES[[1, 2, 0]].astype(np.float32))


def test_gray_image_folder(tmp_path: Path) -> None:
    image(tmp_path / "a" / "a.png", IMAGES[0, 0])
    np.testing.assert_array_equal(load_data(tmp_path).all(), IMAGES[:1, :1].astype(np.float32))
    assert load_data(tmp_path, input_shape=("N", 3, 4, 6)).sample_shape == (3, 4, 6)  # type: ignore[arg-type]


def test_images_become_gray_for_a_model_of_one_channel(tmp_path: Path) -> None:
    image(tmp_path / "a" / "a.png", IMAGES[0].transpose(1, 2, 0))
    assert load_data(tmp_path, input_shape=(None, 1, 4, 6)).sample_shape == (1, 4, 6)


def test_images_are_resized_to_size(tmp_path: Path) -> None:
    image(tmp_path / "a" / "a.png", np.full((4, 6), 7, dtype=np.uint8))
    image(tmp_path / "a" / "b.png", np.full((9, 5), 9, dtype=np.uint8))
    assert "size = [height, width]" in refused(tmp_path)
    data = load_data(tmp_path, overrides={"size": [8, 3]})
    assert data.sample_shape == (1, 8, 3)
    assert np.unique(data.batch(1, 2)).tolist() == [9.0]


# --- which file of a folder ------------------------------------------------------------------


def test_role_chooses_the_file(tmp_path: Path) -> None:
    npz(tmp_path / "calib.npz", x=IMAGES[:2])
    npz(tmp_path / "test.npz", x=IMAGES[:3])
    npz(tmp_path / "more.npz", x=IMAGES)
    assert len(load_data(tmp_path)) == 2
    assert len(load_data(tmp_path, role="test")) == 3


def test_role_chooses_the_idx_file(tmp_path: Path) -> None:
    mnist_folder(tmp_path, "train")
    mnist_folder(tmp_path, "t10k")
    assert load_data(tmp_path).name == "train-images-idx3-ubyte.gz"
    assert load_data(tmp_path, role="test").name == "t10k-images-idx3-ubyte.gz"


def test_only_file_of_a_folder_and_its_captures(tmp_path: Path) -> None:
    npz(tmp_path / "mine.npz")
    for name in ("b.pimccap", "a.pimccap"):
        (tmp_path / name).write_bytes(b"")
    data = load_data(tmp_path)
    assert data.name == "mine.npz"
    assert data.captures == (tmp_path / "a.pimccap", tmp_path / "b.pimccap")


def test_candidates_are_listed(tmp_path: Path) -> None:
    npz(tmp_path / "one.npz")
    npz(tmp_path / "two.npz")
    message = refused(tmp_path)
    assert "more than one could be the calib data: one.npz, two.npz" in message


def test_data_for_the_other_purpose_are_not_taken(tmp_path: Path) -> None:
    npz(tmp_path / "test.npz")
    assert "holds no calib data (name the file itself (test.npz))" in refused(tmp_path)
    assert len(load_data(tmp_path / "test.npz")) == 5


def test_empty_folder(tmp_path: Path) -> None:
    assert "holds no calib data (put in .npz" in refused(tmp_path)


# --- preprocessing ---------------------------------------------------------------------------


def test_conversion(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text(
        'layout = "NHWC"\nscale = 255.0\nmean = [0.1, 0.2, 0.3]\nstd = [0.5, 0.25, 2.0]\n'
    )
    data = load_data(npz(tmp_path / "a.npz", x=IMAGES.transpose(0, 2, 3, 1)))
    mean = np.array([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)
    std = np.array([0.5, 0.25, 2.0]).reshape(1, 3, 1, 1)
    got = data.batch(1, 4)
    np.testing.assert_allclose(got, ((IMAGES / 255.0 - mean) / std)[1:4], rtol=1e-6, atol=1e-7)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert data.x.dtype == np.uint8


def test_batches_make_the_whole(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path / "a.npz"), overrides={"scale": 3.0, "mean": 1})
    parts = [data.batch(start, start + 2) for start in (0, 2, 4, 6)]
    assert [len(part) for part in parts] == [2, 2, 1, 0]
    np.testing.assert_array_equal(np.concatenate(parts), data.all())


def test_options_override_the_file_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text("scale = 2.0\nmean = 1.0\n")
    options = load_data(npz(tmp_path / "a.npz"), overrides={"mean": [3.0], "std": None}).preprocess
    assert options == Preprocess("NCHW", 2.0, (3.0,), (1.0,), None)


def test_data_toml_applies_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text("scale = 2.0\n")
    npz(tmp_path / "calib.npz")
    assert load_data(tmp_path).preprocess.scale == 2.0


@pytest.mark.parametrize(
    ("x", "layout", "shape"),
    [
        (np.ones((2, 7)), "auto", (7,)),
        (np.ones((2, 7)), "NC", (7,)),
        (np.ones((2, 7, 5)), "auto", (7, 5)),
        (np.ones((2, 7, 5)), "NHW", (1, 7, 5)),
        (np.ones((2, 7, 5)), "NTC", (7, 5)),
        (np.ones((2, 7, 5)), "NCT", (7, 5)),
        (np.ones(2), "auto", ()),
        (np.ones((2, 7, 5, 3)), "NHWC", (3, 7, 5)),
        (np.ones((2, 7, 5, 3)), "any", (7, 5, 3)),
        (np.ones((2, 3, 4, 5, 6)), "auto", (3, 4, 5, 6)),
    ],
)
def test_layouts(x: Any, layout: str, shape: tuple[int, ...]) -> None:
    data = Dataset.of(x, preprocess=Preprocess(layout=layout))
    assert data.sample_shape == shape
    assert data.all().shape == (2, *shape)


def test_channels_of_sequences() -> None:
    x = np.zeros((1, 2, 3))
    last = Dataset.of(x, preprocess=Preprocess("NTC", mean=(1, 2, 3))).all()
    assert last[0].tolist() == [[-1, -2, -3], [-1, -2, -3]]
    first = Dataset.of(x, preprocess=Preprocess("NCT", mean=(1, 2))).all()
    assert first[0].tolist() == [[-1, -1, -1], [-2, -2, -2]]


def test_whole_numbers_reach_the_network_exactly() -> None:
    x = np.array([[2**24, 3, -5]], dtype=np.int64)
    assert Dataset.of(x).all().tolist() == [[2.0**24, 3.0, -5.0]]
    assert Dataset.of(np.array([[True, False]])).all().tolist() == [[1.0, 0.0]]


# --- parts -----------------------------------------------------------------------------------


def test_subset_and_split() -> None:
    data = Dataset.of(np.arange(10)[:, None], np.arange(10))
    part = data.subset([7, 2])
    assert part.all().ravel().tolist() == [7.0, 2.0]
    assert part.y is not None
    assert part.y.tolist() == [7, 2]
    first, second = data.split(0.3, np.random.default_rng(5))
    again, _ = data.split(0.3, np.random.default_rng(5))
    assert (len(first), len(second)) == (3, 7)
    assert sorted([*first.all().ravel(), *second.all().ravel()]) == list(range(10))
    np.testing.assert_array_equal(first.all(), again.all())
    np.testing.assert_array_equal(first.all().ravel(), first.y)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.99, 1.0, -1.0, float("nan")])
def test_split_refuses_an_empty_part(fraction: float) -> None:
    with pytest.raises(DataError, match="cannot be split"):
        Dataset.of(np.ones((4, 1))).split(fraction, np.random.default_rng(0))


@pytest.mark.parametrize("indices", [[], [4], [-1], [0.5], [[1]], [True, False, True, False]])
def test_subset_refuses(indices: Any) -> None:
    with pytest.raises(DataError):
        Dataset.of(np.ones((4, 1))).subset(indices)


def test_documentation_is_in_step() -> None:
    docs = Path(__file__).parents[3] / "docs" / "data.md"
    assert key_table(Preprocess) in docs.read_text(encoding="utf-8")
