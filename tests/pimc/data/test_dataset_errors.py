"""Data: every bad input is refused with its place and, where there is one, its remedy."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimc.data.arrays
from pimc.data.dataset import Dataset, Preprocess, load_data
from pimc.errors import DataError
from tests.pimc.data.data_files import IMAGES, LABELS, idx_bytes, image, mnist_folder, npz, refused


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    npz(tmp_path / "calib.npz")
    message = refused(tmp_path / "callib.npz")
    assert "callib.npz: no such file or folder (did you mean calib.npz?)" in message
    assert "no such file" in refused(tmp_path / "no" / "a.npz")


@pytest.mark.parametrize("name", ["a.csv", "a", "a.pimccap"])
def test_unknown_extension(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    message = refused(tmp_path / name)
    assert "unknown extension" in message
    assert ("give the folder" if name.endswith("cap") else ".npy") in message


def _npy_bytes(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def _npz_bytes(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _zip_bytes(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(value ^ 0xFF for value in content[middle:][:40])
        + content[middle + 40 :]
    )


def _head(shape: str, dtype: str = "|u1") -> bytes:
    """A .npy file of no values, with a head as it is given."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


def _encrypted() -> bytes:
    """An archive that says that its member is encrypted."""
    content = bytearray(_zip_bytes("x.npy", _npy_bytes(np.zeros(3))))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _packed_by(method: int) -> bytes:
    """An archive that says that its member is packed by a method that nobody has."""
    content = bytearray(_zip_bytes("x.npy", _npy_bytes(np.zeros(3))))
    content[8] = method
    content[content.index(b"PK\x01\x02") + 10] = method
    return bytes(content)


def _idx_bomb() -> bytes:
    """A head that announces nine bytes before sixteen million."""
    return gzip.compress(b"\0\0\x08\x02\0\0\0\x03\0\0\0\x03" + bytes(1 << 24))


NOISE = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)


# Named, for zip and gzip write the time into what they make.
BROKEN = {
    "npz empty": ("a.npz", b""),
    "npz no archive": ("a.npz", b"PK\x03\x04 but no archive"),
    "npz cut": ("a.npz", _npz_bytes(x=NOISE)[:-60]),
    "npz flipped bits": ("a.npz", _flipped(_npz_bytes(x=NOISE))),
    "npz of no array": ("a.npz", _zip_bytes("x.npy", b"no array")),
    "npz that is npy": ("a.npz", _npy_bytes(NOISE)),
    "npy empty": ("a.npy", b""),
    "npy no array": ("a.npy", b"no array at all"),
    "npy cut by one": ("a.npy", _npy_bytes(NOISE)[:-1]),
    "npy cut in the head": ("a.npy", _npy_bytes(NOISE)[:20]),
    "npy that is npz": ("a.npy", _npz_bytes(x=NOISE)),
    "npy of objects": ("a.npy", _npy_bytes(np.array([None, 1]), allow_pickle=True)),
    "npz of objects": ("a.npz", _npz_bytes(x=np.array([None, 1]))),
    "gz empty": ("a.gz", b""),
    "gz not gzip": ("a.gz", b"not gzip"),
    "gz cut": ("a.gz", idx_bytes(NOISE)[:-30]),
    "gz flipped bits": ("a.gz", _flipped(idx_bytes(NOISE))),
    "idx empty": ("a.gz", gzip.compress(b"")),
    "idx without rank": ("a.gz", gzip.compress(b"\0\0\x08")),
    "idx cut in the head": ("a.gz", gzip.compress(b"\0\0\x08\x03\0\0")),
    "idx too large": ("a.gz", gzip.compress(b"\0\0\x08\x02" + b"\xff" * 8)),
    "idx of unknown type": ("a.gz", gzip.compress(b"\0\0\x07\x01\0\0\0\x01a")),
    "idx with a byte more": ("a.gz", gzip.compress(gzip.decompress(idx_bytes(NOISE)) + b"!")),
    "npy head of nonsense": ("a.npy", _head("(((((")),
    "npy head with a call": ("a.npy", _head("print(1)")),
    "npy head of text": ("a.npy", _head("'a'")),
    "npy of unknown type": ("a.npy", _head("(3,)", "<q9")),
    "npy beyond memory": ("a.npy", _head("(1 << 50,)".replace("1 << 50", str(1 << 50)))),
    "npy of negative length": ("a.npy", _head("(-3,)")),
    "npz beyond memory": ("a.npz", _zip_bytes("x.npy", _head(f"({1 << 50},)"))),
    "npz head of nonsense": ("a.npz", _zip_bytes("x.npy", _head("((((("))),
    "npz encrypted": ("a.npz", _encrypted()),
    "npz packed in an unknown way": ("a.npz", _packed_by(77)),
    "idx bomb": ("a.gz", _idx_bomb()),
    "idx beyond memory": ("a.gz", gzip.compress(b"\0\0\x0e\x02" + b"\x7f" * 8)),
    "idx with a byte less": ("a.gz", gzip.compress(gzip.decompress(idx_bytes(NOISE))[:-1])),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("mapped", [False, True])
def test_broken_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, mapped: bool
) -> None:
    name, content = BROKEN[case]
    monkeypatch.setattr(pimc.data.arrays, "_MAP_BYTES", 0 if mapped else 1 << 30)
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert f"{name}: " in message
    assert "cannot be read: " in message or "Python objects" in message


def test_pickled_objects_stay_shut(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(_npz_bytes(x=IMAGES, y=np.array([None] * 5)))
    assert "Python objects" in refused(tmp_path / "a.npz")


def test_broken_labels_file_is_named(tmp_path: Path) -> None:
    path = mnist_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"x")
    assert "train-labels-idx1-ubyte.gz: cannot be read" in refused(path)


def test_labels_file_as_data(tmp_path: Path) -> None:
    mnist_folder(tmp_path)
    assert "labels, not samples" in refused(tmp_path / "train-labels-idx1-ubyte.gz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": IMAGES}, "holds no array x (it holds z)"),
        ({"x": IMAGES[:0]}, "holds no samples: x has shape (0, 3, 4, 6)"),
        ({"x": np.float64(1)}, "holds no samples"),
        ({"x": np.array(["a"])}, "not real numbers"),
        ({"x": np.ones((2, 2), complex)}, "x holds complex128, not real numbers"),
        ({"x": np.array([[0.0], [1.0], [np.nan]])}, "first in sample 2"),
        ({"x": np.array([[0.0], [-np.inf]])}, "first in sample 1"),
        ({"x": np.array([[1e39]])}, "beyond float32"),
        ({"x": np.array([[1.0], [np.inf]], np.float16)}, "first in sample 1"),
        ({"x": IMAGES, "y": LABELS[:4]}, "x has 5 samples, y has shape (4,)"),
        ({"x": IMAGES, "y": np.eye(4, dtype=int)}, "x has 5 samples, y has shape (4, 4)"),
        ({"x": IMAGES, "y": np.full(5, np.inf)}, "NaN or infinity in y"),
        ({"x": IMAGES, "y": np.array(list("abcde"))}, "not whole numbers"),
        ({"x": IMAGES, "y": LABELS.astype(int) - 1}, "negative class numbers"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message in refused(npz(tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize(
    "options", [{"scale": 1e-40}, {"scale": 1e-60}, {"std": (1e-40,)}, {"mean": (1e39,)}]
)
def test_preprocessing_that_leaves_float32(options: dict[str, Any]) -> None:
    x = np.array([[[0]], [[1]], [[200]]], np.uint8)
    with pytest.raises(DataError, match=r"scale .* mean .* std .* first in sample") as caught:
        Dataset.of(x, preprocess=Preprocess(**options))
    assert f"{next(iter(options))} " in str(caught.value)


def test_each_channel_has_its_own_range() -> None:
    """The large values of one channel would leave float32 with the std of the other."""
    x = np.array([[1e30, 1.0], [2e30, 2.0]])
    data = Dataset.of(x, preprocess=Preprocess(std=(1e30, 1e-20)))
    assert np.isfinite(data.all()).all()


def test_bad_value_deep_in_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pimc.data.column._SCAN_VALUES", 10)
    x = np.zeros((50, 4), dtype=np.float32)
    Dataset.of(x)
    x[33, 1] = np.nan
    with pytest.raises(DataError, match="sample 33"):
        Dataset.of(x)


@pytest.mark.parametrize(
    ("layout", "wanted", "message"),
    [
        ("NCHW", (None, 3, 4, 7), "the model takes (N, 3, 4, 7), the data give (N, 3, 4, 6)"),
        ("NCHW", (None, 3, 4, 7), "give data of this model"),
        ("NHWC", (8, 3, 4, 6), 'the layout looks swapped: try layout = "NCHW"'),
        ("NCHW", (None, 6, 3, 4), 'the layout looks swapped: try layout = "NHWC"'),
        ("NCHW", (None, 72), "the model takes (N, 72)"),
        ("NC", (None, 3, 4, 6), "x has shape (5, 3, 4, 6), layout NC needs 2 axes"),
    ],
)
def test_wrong_shape(
    tmp_path: Path, layout: str, wanted: tuple[int | None, ...], message: str
) -> None:
    path = npz(tmp_path / "a.npz")
    assert message in refused(path, overrides={"layout": layout}, input_shape=wanted)


def test_gray_images_without_their_channel(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=IMAGES[:, 0])
    assert 'try layout = "NHW"' in refused(path, input_shape=(None, 1, 4, 6))


def test_free_axes_fit_everything(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    assert load_data(path, input_shape=(1, 3, None, None)).sample_shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scal = 1", "scal: unknown key (did you mean scale?)"),
        ("scale = 0", "scale: must be a number above 0, not 0"),
        ("scale = nan", "scale: must be"),
        ('scale = "255"', "scale: must be"),
        ("mean = []", "mean: must not be empty"),
        ("std = [0.0]", "std: must be a list of numbers above 0"),
        ("mean = [1, 2]\nstd = [1, 2, 3]", "std: must have as many entries as mean"),
        ("mean = [1, 2]", "mean has 2 entries, x of layout NCHW has 3 channels"),
        ("std = [1, 2]", "std has 2 entries"),
        ('layout = "NWHC"', "did you mean NHWC?"),
        ("size = [4]", "size: must be [height, width]"),
        ("size = [4, 7]", "stored arrays are not resized"),
        ("size = [4.5, 7]", "size: must be a list of whole numbers"),
        ("scale = ", "not valid TOML"),
    ],
)
def test_bad_preprocessing(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.toml").write_text(text)
    assert message in refused(npz(tmp_path / "a.npz"))


def test_bad_options(tmp_path: Path) -> None:
    message = refused(npz(tmp_path / "a.npz"), overrides={"scal": 1, "layout": 3})
    assert message.startswith("options: scal: unknown key")
    assert "layout: must be one of auto, NCHW" in message


def test_size_that_agrees_is_accepted(tmp_path: Path) -> None:
    assert len(load_data(npz(tmp_path / "a.npz"), overrides={"size": [4, 6]})) == 5


def _text(path: Path) -> None:
    path.write_bytes(b"no image")


def _truncated(path: Path) -> None:
    image(path, NOISE[0].transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:-80])


def _deep(path: Path) -> None:
    image(path, np.full((4, 4), 60000, dtype=np.uint16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_text, "is no readable image"),
        (_truncated, "is no readable image"),
        (_deep, "not 8 bits a channel"),
    ],
)
def test_bad_images(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / "a.png")
    assert message in refused(tmp_path)


def test_class_without_images(tmp_path: Path) -> None:
    image(tmp_path / "a" / "a.png", IMAGES[0, 0])
    (tmp_path / "b").mkdir()
    message = refused(tmp_path)
    assert "b: holds no image" in message


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.gz"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert "is no regular file" in refused(tmp_path / name)


def test_a_pipe_in_a_folder_is_no_data(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "calib.npz")
    assert "holds no calib data" in refused(tmp_path)


def test_preprocessing_in_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(_npy_bytes(NOISE))
    os.mkfifo(tmp_path / "data.toml")
    assert "is no regular file" in refused(tmp_path / "a.npy")


def test_no_more_is_decompressed_than_the_head_announces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    inner = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        content = inner(self, size)
        read.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    (tmp_path / "a.gz").write_bytes(_idx_bomb())
    assert "do not make the array (3, 3)" in refused(tmp_path / "a.gz")
    assert sum(read) <= 4 + 8 + 9 + 1


@pytest.mark.parametrize("options", [{"scale": 1e308}, {"std": (1.0, 1e39)}])
def test_a_divisor_that_float32_knows_as_infinity(options: dict[str, Any]) -> None:
    """Every value would become zero."""
    with pytest.raises(DataError, match=r"lies beyond float32"):
        Dataset.of(np.ones((3, 2), np.float32), preprocess=Preprocess(**options))


def test_an_array_larger_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((4, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(4, 3)", b"(9999999, 30)"))
    tracemalloc.start()
    try:
        assert "larger than what the file holds" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_heads_as_python_2_wrote_them_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((4, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(4, 3), }  ", b"(4L, 3L), }"))
    assert load_data(path).x.shape == (4, 3)


def test_a_picture_of_a_size_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    head = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    head += struct.pack("<IiiHHIIiiII", 40, 10_000, 10_000, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "data" / "a" / "one.bmp").write_bytes(head)
    assert "exceeds limit" in refused(tmp_path / "data")


def test_what_no_task_asks_for_may_hold_what_it_likes(tmp_path: Path) -> None:
    gaps = np.array([1, np.nan, 2, np.inf, 3])
    data = load_data(npz(tmp_path / "a.npz", x=IMAGES, y=LABELS, age=gaps, palette=np.ones(3)))
    assert (sorted(data.targets), data.unused) == (["age", "y"], ("palette",))
