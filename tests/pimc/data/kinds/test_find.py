"""Folders at their usual depth: which one is meant, and what is a class in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.data.dataset import load_data
from tests.pimc.data.data_files import image, refused

PIXELS = np.zeros((4, 4, 3), np.uint8)


def test_imagenet_lies_where_it_is_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "ILSVRC"
    inner = root / "Data" / "CLS-LOC"
    for role, count in (("train", 2), ("val", 3)):
        for synset in ("n01440764", "n01443537"):
            for number in range(count):
                image(inner / role / synset / f"{synset}_{number}.png", PIXELS)
    image(inner / "test" / "0001.png", PIXELS)
    (root / "Annotations" / "CLS-LOC" / "val").mkdir(parents=True)
    (root / "Annotations" / "CLS-LOC" / "val" / "0001.xml").write_text("<a/>")
    (root / "data.toml").write_text("scale = 255.0\n")
    data = load_data(root)
    assert (len(data), data.classes) == (4, ("n01440764", "n01443537"))
    assert data.preprocess.scale == 255.0
    # `test` holds pictures without labels: where there are some with labels, these are meant.
    assert load_data(root, role="test").targets["y"][:].tolist() == [0, 0, 0, 1, 1, 1]
    assert load_data(inner / "val", role="test").targets["y"][:].tolist() == [0, 0, 0, 1, 1, 1]
    assert load_data(inner / "test", role="test").y is None


def test_the_nearest_settings_hold(tmp_path: Path) -> None:
    for role in ("train", "val"):
        image(tmp_path / "set" / role / "cat" / "a.png", PIXELS)
    (tmp_path / "data.toml").write_text("scale = 2.0\n")
    (tmp_path / "set" / "val" / "data.toml").write_text("scale = 4.0\n")
    assert load_data(tmp_path).preprocess.scale == 2.0
    assert load_data(tmp_path, role="test").preprocess.scale == 4.0


def test_pictures_of_a_class_may_lie_deeper(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        for number in range(2):
            image(tmp_path / "train" / name / "images" / f"{number}.png", PIXELS)
    for folder in (tmp_path, tmp_path / "train"):
        data = load_data(folder)
        assert data.targets["y"][:].tolist() == [0, 0, 1, 1]
        assert data.classes == ("n01", "n02")
    (tmp_path / "train" / "n03").mkdir()
    assert "n03: holds no image" in refused(tmp_path)


def test_folders_for_another_purpose_are_no_classes(tmp_path: Path) -> None:
    for role in ("val", "validation"):
        image(tmp_path / role / "cat" / "a.png", PIXELS)
    assert "holds no calib data" in refused(tmp_path)
    for part in ("one", "two"):
        image(tmp_path / "b" / part / "train" / "cat" / "a.png", PIXELS)
    told = refused(tmp_path / "b")
    assert (
        f"more than one could be the calib data: {Path('one/train')}, {Path('two/train')}" in told
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        image(tmp_path / name / "a.png", PIXELS)
    assert load_data(tmp_path).classes == ("car", "train")


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "a.png", PIXELS)
    image(tmp_path / "cat" / ".thumbs" / "a.png", PIXELS)
    (tmp_path / "cat" / "._a.png").write_bytes(b"")
    assert len(load_data(tmp_path)) == 1


@pytest.mark.parametrize("name", ["calib", "train"])
def test_lines_and_arrays_come_before_folders(tmp_path: Path, name: str) -> None:
    image(tmp_path / name / "cat" / "a.png", PIXELS)
    (tmp_path / "calib.jsonl").write_text('{"x": [1, 2]}\n')
    assert load_data(tmp_path).all().tolist() == [[1, 2]]
    np.savez(tmp_path / "calib.npz", x=np.ones((3, 2)))
    assert len(load_data(tmp_path)) == 3
