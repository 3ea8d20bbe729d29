"""Rows that do not lie in memory, and that memory stays bounded with them."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pimc.data.rows
from pimc.data.arrays import idx_array
from pimc.data.dataset import Dataset, load_data
from pimc.data.rows import FileRows, RowWriter, picked, sha256_rows
from pimc.errors import DataError
from pimc.files.writing.atomic import sha256_array
from tests.pimc.data.data_files import IMAGES, idx_bytes, npz, refused

X = np.random.default_rng(0).standard_normal((50, 3, 4)).astype(np.float32)


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is kept in memory; returns the folder of temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(pimc.data.rows, "HELD_BYTES", 0)
    monkeypatch.setattr(pimc.data.rows, "CHUNK_BYTES", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_read_row_by_row(tmp_path: Path, nothing_held: Path, save) -> None:
    save(tmp_path / "a.npz", x=X, y=np.arange(50) % 3)
    data = load_data(tmp_path / "a.npz")
    assert isinstance(data.x, FileRows)
    np.testing.assert_array_equal(data.batch(3, 9), X[3:9])
    np.testing.assert_array_equal(data.all(), X)
    np.testing.assert_array_equal(data.subset([7, 8, 2, 2]).all(), X[[7, 8, 2, 2]])
    first, second = data.split(0.5, np.random.default_rng(0))
    assert sorted([*first.all()[:, 0, 0], *second.all()[:, 0, 0]]) == sorted(X[:, 0, 0])
    assert data.y is not None
    assert data.y[:4].tolist() == [0, 1, 2, 0]
    assert data.fingerprint() == Dataset.of(X).fingerprint() == sha256_array(X)
    assert sha256_rows(data.x) == sha256_array(X)


def test_idx_files_are_laid_down(tmp_path: Path, nothing_held: Path) -> None:
    (tmp_path / "a.gz").write_bytes(idx_bytes(IMAGES))
    data = load_data(tmp_path / "a.gz")
    assert isinstance(data.x, FileRows)
    np.testing.assert_array_equal(data.all(), IMAGES.astype(np.float32))
    np.testing.assert_array_equal(idx_array(tmp_path / "a.gz"), IMAGES)
    (tmp_path / "a.gz").write_bytes(gzip.compress(gzip.decompress(idx_bytes(IMAGES)) + b"!"))
    assert "do not make the array" in refused(tmp_path / "a.gz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_a_large_archive_is_noticed(
    tmp_path: Path, nothing_held: Path, save
) -> None:
    path = tmp_path / "a.npz"
    save(path, x=(X * 100).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "cannot be read" in refused(path)


def test_nan_in_a_large_archive_is_found(tmp_path: Path, nothing_held: Path) -> None:
    x = X.copy()
    x[33, 1, 2] = np.nan
    assert "first in sample 33" in refused(npz(tmp_path / "a.npz", x=x))


def test_whole_numbers_in_files_are_held_to_what_their_type_holds(
    tmp_path: Path, nothing_held: Path
) -> None:
    path = npz(tmp_path / "a.npz", x=np.full((5, 2), 200, np.uint8))
    assert load_data(path, overrides={"scale": 255.0}).batch(0, 1).max() == np.float32(200 / 255)
    assert "first in sample 0" in refused(path, overrides={"scale": 1e-39})


def test_temporary_files_go_with_their_rows(tmp_path: Path, nothing_held: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X)
    data = load_data(tmp_path / "a.npz")
    part = data.subset([3])
    del data
    assert len(list(nothing_held.iterdir())) == 1
    copy = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(copy.all(), X[3:4])
    del copy
    assert len(list(nothing_held.iterdir())) == 1
    del part
    assert list(nothing_held.iterdir()) == []


def test_no_room_for_a_temporary_file(nothing_held: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(nothing_held / "no"))
    with pytest.raises(DataError, match=r"cannot be laid down .* TMPDIR"):
        RowWriter((), np.dtype(np.uint8)).write(b"x")


def test_a_file_that_became_shorter_is_named(tmp_path: Path, nothing_held: Path) -> None:
    data = load_data(npz(tmp_path / "a.npz", x=IMAGES))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:300])
    with pytest.raises(DataError, match=r"a\.npz: is shorter than it was"):
        data.all()
    (tmp_path / "a.npz").unlink()
    with pytest.raises(DataError, match=r"a\.npz: cannot be read: No such file"):
        data.all()


def test_a_mapped_file_is_not_copied_by_a_subset(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pimc.data.arrays._MAP_BYTES", 100)
    np.save(tmp_path / "a.npy", X)
    part = load_data(tmp_path / "a.npy").subset(np.arange(40)).subset([39, 0])
    assert not isinstance(part.x, np.ndarray)
    np.testing.assert_array_equal(part.all(), X[[39, 0]])


def test_what_is_in_memory_is_picked_at_once() -> None:
    assert isinstance(picked(X, np.array([1, 2])), np.ndarray)


def test_half_a_row_is_refused() -> None:
    writer = RowWriter((3,), np.dtype(np.uint8))
    writer.write(b"12345")
    with pytest.raises(ValueError, match="within a sample"):
        writer.done()


# --- memory ----------------------------------------------------------------------------------

#: What a process of its own does with data of four times the limit; it is killed by none of it.
PROGRAM = """
import resource, sys
import numpy as np
import pimc.data.rows
from pimc import api
from pimc.data.dataset import load_data
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.door.sim_driver import simulated
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy
import pimc.studies.evaluate as evaluate
import onnx
from onnx import helper as h, numpy_helper as nh, TensorProto as T

path, limit = sys.argv[1], int(sys.argv[2])
pimc.data.rows.HELD_BYTES = evaluate.CACHE_BYTES = 1 << 20
w = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
ends = [nh.from_array(np.array([n]), name) for name, n in (("from", 0), ("to", 16), ("axis", 1))]
first = h.make_node("Slice", ["x", "from", "to", "axis"], ["s"])
graph = h.make_graph([first, h.make_node("MatMul", ["s", "w"], ["y"])], "g",
    [h.make_tensor_value_info("x", T.FLOAT, ["N", WIDTH])],
    [h.make_tensor_value_info("y", T.FLOAT, None)], [nh.from_array(w, "w"), *ends])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)

def run(some):
    image = api.compile(model, calib=some, options=api.Options(calibration_images=64))
    session = Session(image, die=Die.simulated(0))
    capture(session, some, CaptureOptions(vectors=32, repeats=1, images=32))
    options = RecoverOptions(rounds=0, calibrate_images=64, cost_images=0)
    recover(image, session.device, some, options, strategy="affine")
    return accuracy(session, some, 64)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

data = load_data(path)
run(data.subset(np.arange(256)))
before = peak()
data = load_data(path)
assert 0 <= run(data) <= 1
grown = peak() - before
print(grown)
assert grown < limit, grown
"""


@pytest.mark.parametrize("compressed", [False, True])
def test_the_peak_stays_below_a_part_of_the_data(tmp_path: Path, compressed: bool) -> None:
    """Compile, capture, recover and eval on 192 MiB of float32 with 48 MiB more than on a few."""
    width, samples = 12288, 4096
    path = tmp_path / "a.npz"
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", kind, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as stream:
            head = {"descr": "<f4", "fortran_order": False, "shape": (samples, width)}
            np.lib.format.write_array_header_1_0(stream, head)
            for _ in range(samples // 64):
                stream.write(rng.integers(0, 2, (64, width)).astype(np.float32).tobytes())
        with archive.open("y.npy", "w") as stream:
            np.save(stream, np.arange(samples) % 4)
    program = PROGRAM.replace("WIDTH", str(width))
    command = [sys.executable, "-c", program, str(path), str(48 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_rows_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(X.tobytes())
    rows = FileRows(tmp_path / "x", 0, X.shape, X.dtype)
    assert rows[50:].shape == (0, 3, 4)
