"""Folders of ``.npz`` files, one a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.data import rows
from pimc.data.dataset import load_data
from pimc.errors import DataError
from pimc.runtime.session import NodeArg
from tests.pimc.data.data_files import refused

IDS = NodeArg("ids", ["N", "S"], "tensor(int64)")
MASK = NodeArg("attention_mask", ["N", "S"], "tensor(bool)")
IMAGE = NodeArg("pixels", ["N", 2, 3], "tensor(float)")


def samples(folder: Path, count: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        np.savez(
            folder / f"{number:04d}.npz",
            ids=np.arange(number + 1),
            y=number % 2,
            boxes=np.full((number, 4), number, np.uint8),
            note="a text",
        )
    return folder


def test_every_file_is_a_sample(tmp_path: Path) -> None:
    data = load_data(samples(tmp_path), inputs=[IDS, MASK])
    feed = data.feed(1, 3)
    assert feed["ids"].tolist() == [[0, 1, 0, 0], [0, 1, 2, 0]]
    assert feed["attention_mask"].tolist() == [[True, True, False, False], [True] * 3 + [False]]
    assert data.targets["y"][:].tolist() == [0, 1, 0, 1]
    assert sorted(data.targets) == ["boxes", "y"]
    assert data.targets["boxes"].shape == (4, 3, 4)
    assert data.targets["boxes"][1].tolist() == [[1] * 4, [-1] * 4, [-1] * 4]


def test_a_folder_named_for_the_purpose_is_found(tmp_path: Path) -> None:
    samples(tmp_path / "calib", 1)
    samples(tmp_path / "test", 3)
    assert len(load_data(tmp_path, inputs=[IDS, MASK])) == 1
    assert len(load_data(tmp_path, inputs=[IDS, MASK], role="test")) == 3


def test_the_only_input_may_be_called_x_and_files_are_read_when_needed(
    tmp_path: Path, monkeypatch: Any
) -> None:
    for number in range(3):
        np.savez_compressed(tmp_path / f"{number}.npz", x=np.full((2, 3), number, np.uint8))
    held = load_data(tmp_path, inputs=[IMAGE])
    assert held.feed(2, 3)["pixels"].tolist() == [[[2.0] * 3] * 2]
    monkeypatch.setattr(rows, "HELD_BYTES", 8)
    lazy = load_data(tmp_path, inputs=[IMAGE])
    assert not isinstance(lazy.x, np.ndarray)
    np.testing.assert_array_equal(lazy.all(), held.all())
    assert lazy.fingerprint() == held.fingerprint()
    np.savez(tmp_path / "1.npz", x=np.zeros((2, 4), np.uint8))
    with pytest.raises(DataError, match=r"1\.npz: x has another shape than before"):
        lazy.all()
    (tmp_path / "1.npz").unlink()
    with pytest.raises(DataError, match=r"1\.npz: cannot be read"):
        lazy.all()


def test_files_of_many_samples_are_not_taken_for_one_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        np.savez(
            tmp_path / f"{name}.npz", ids=np.zeros((5, 3), int), attention_mask=np.ones((5, 3))
        )
    assert "more than one could be the calib data" in refused(tmp_path, inputs=[IDS, MASK])
    assert "more than one could be the calib data" in refused(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    samples(tmp_path, 2)
    np.savez(tmp_path / "test.npz", ids=np.zeros((5, 3), int))
    assert "more than one could be the calib data" in refused(tmp_path, inputs=[IDS, MASK])


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ({"y": 1}, "2.npz: holds no ids, 0000.npz does"),
        ({"ids": np.arange(3.0), "y": 1, "boxes": np.ones((1, 4))}, "ids is float64 of shape (3,)"),
        ({"ids": np.ones((2, 2), int), "y": 1}, "ids is int64 of shape (2, 2)"),
        ({"ids": np.arange(3), "y": np.array([object()])}, "Object arrays cannot be loaded"),
    ],
)
def test_files_unlike_the_first_are_refused(tmp_path: Path, arrays: Any, wanted: str) -> None:
    samples(tmp_path, 2)
    np.savez(tmp_path / "2.npz", **arrays)
    assert wanted in refused(tmp_path, inputs=[IDS, MASK])


def test_broken_files_are_refused(tmp_path: Path) -> None:
    samples(tmp_path, 2)
    (tmp_path / "0001.npz").write_bytes(b"PK nothing")
    assert "0001.npz: cannot be read" in refused(tmp_path, inputs=[IDS, MASK])
    told = refused(samples(tmp_path, 2), inputs=[IDS, NodeArg("mask", [], "tensor(int64)"), IMAGE])
    assert "0000.npz: holds no pixels (it holds ids, y, boxes, note)" in told


def test_labels_of_some_files_alone_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", ids=np.arange(3))
    np.savez(tmp_path / "1.npz", ids=np.arange(3), y=np.asarray(1))
    assert "1.npz: holds y, 0.npz does not" in refused(tmp_path, inputs=[IDS, MASK])
