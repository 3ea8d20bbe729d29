"""COCO's boxes: moved as the images are, and a detector by commands alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.data.dataset import load_data
from pimc.runtime.session import NodeArg
from tests.pimc.data.data_files import image, refused
from tests.pimc.data.kinds.standins import detector, pictures

X = [NodeArg("x", ["N", 3, "H", "W"], "tensor(float)")]


def street(folder: Path, change: Any = lambda told: None) -> Path:
    """Two images, 20 wide and 10 high, and what is to be seen."""
    for name in ("b.png", "images/a.png"):
        image(folder / name, np.zeros((10, 20, 3), np.uint8))
    told = {
        "info": {"year": 2026},
        "images": [
            {"id": 5, "file_name": "b.png", "width": 20, "height": 10},
            {"id": 3, "file_name": "a.png"},
        ],
        "categories": [{"id": 40, "name": "car"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 40, "bbox": [2, 4, 6, 2]},
            {"id": 2, "image_id": 5, "category_id": 2, "bbox": [0, 0, 20.0, 10], "iscrowd": 1},
            {"id": 3, "image_id": 5, "category_id": 2, "bbox": [18, 1, 2, 2], "iscrowd": 0},
            {"id": 4, "image_id": 5, "category_id": 2, "bbox": [3, 3, 0, 2]},
        ],
    }
    change(told)
    path = folder / "annotations.json"
    path.write_text(json.dumps(told))
    return path


def test_boxes_are_targets_as_the_task_takes_them(tmp_path: Path) -> None:
    street(tmp_path)
    data = load_data(tmp_path, inputs=X)
    assert data.feed(0, 2)["x"].shape == (2, 3, 10, 20)
    assert data.targets["boxes"][0].tolist() == [[2, 4, 8, 6], [0, 0, 20, 10], [18, 1, 20, 3]]
    assert data.targets["classes"][:].tolist() == [[1, 0, 0], [-1, -1, -1]]
    assert data.targets["crowd"][:].tolist() == [[0, 1, 0], [-1, -1, -1]]
    assert data.classes == ("dog", "car")
    assert data.y is None


def test_boxes_move_as_images_are_resized_and_cut(tmp_path: Path) -> None:
    # To 40×20, of which the middle 20×20 stays: the box at the right edge is cut off.
    path = street(tmp_path)
    (tmp_path / "data.toml").write_text("resize = 20\ncrop = [20, 20]\n")
    data = load_data(path, inputs=X)
    assert data.feed(0, 1)["x"].shape == (1, 3, 20, 20)
    assert data.targets["boxes"][0].tolist() == [[0, 8, 6, 12], [0, 0, 20, 20]]
    (tmp_path / "data.toml").write_text(
        'size = [5, 5]\n[boxes]\nnumbers = "ids"\nunits = "shares"\n'
    )
    data = load_data(path, inputs=X)
    np.testing.assert_allclose(data.targets["boxes"][0][0], [0.1, 0.4, 0.4, 0.6], rtol=1e-6)
    assert data.targets["classes"][0].tolist() == [40, 2, 2]
    assert data.classes == ()


def test_coco_lies_where_it_is_unpacked(tmp_path: Path) -> None:
    told = street(tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    path = told.rename(tmp_path / "annotations" / "instances_val2017.json")
    (tmp_path / "val2017" / "images" / "a.png").rename(tmp_path / "val2017" / "a.png")
    assert len(load_data(path, inputs=X)) == 2


def test_pixels_lie_in_their_moved_boxes(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 24:36] = 255
    image(tmp_path / "a.png", pixels)
    box = {"image_id": 1, "category_id": 1, "bbox": [24, 10, 12, 20]}
    told = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [box]}
    (tmp_path / "annotations.json").write_text(json.dumps({**told, "categories": [{"id": 1}]}))
    (tmp_path / "data.toml").write_text("resize = 80\ncrop = [64, 72]\n")
    data = load_data(tmp_path, inputs=X)
    bright = np.argwhere(data.feed(0, 1)["x"][0, 0] > 127)
    (y1, x1), (y2, x2) = bright.min(axis=0), bright.max(axis=0) + 1
    assert data.targets["boxes"][0][0].tolist() == pytest.approx([x1, y1, x2, y2], abs=1)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda t: t.pop("images"), "has no images"),
        (lambda t: t.update(annotations=[3]), "holds no list of objects under annotations"),
        (lambda t: t.update(images=[]), "lists no images"),
        (lambda t: t["images"][0].pop("id"), "images[0]: id is None, no whole number from 0"),
        (lambda t: t["images"][0].update(id=3), "images[1]: the id 3 is there twice"),
        (lambda t: t["images"][0].update(width=21), "b.png is 20x10, said is 21x10"),
        (lambda t: t["images"][0].update(file_name="c.png"), "images[0]: no such file 'c.png'"),
        (lambda t: t["images"][0].update(file_name="../b.png"), "lies in another folder"),
        (lambda t: t["images"][0].update(file_name="/b.png"), "lies in another folder"),
        (lambda t: t["images"][0].update(file_name="b" * 300), "no such file"),
        (lambda t: t["annotations"][1].update(image_id=9), "annotations[1]: there is no image 9"),
        (lambda t: t["annotations"][0].update(category_id=1), "there is no category 1"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, 3]), "bbox is no list of four numbers"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, 3, 1e400]), "bbox is no list of four"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, -3, 1]), "bbox has a negative width"),
        (lambda t: t["annotations"][0].update(iscrowd=2), "iscrowd is 2, not 0 or 1"),
        (lambda t: t["categories"][0].update(id=True), "categories[0]: id is True"),
        (lambda t: t["categories"][0].update(id=2), "categories[1]: the id 2 is there twice"),
    ],
)
def test_wrong_annotations_are_told_with_their_place(
    tmp_path: Path, change: Any, wanted: str
) -> None:
    assert wanted in refused(street(tmp_path, change), inputs=X)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"[]", "holds list, no object"), (b"{", "is no JSON"), (b"[" * 100_000, "is no JSON")],
)  # fmt: skip
def test_what_is_no_file_of_annotations_is_refused(
    tmp_path: Path, content: bytes, wanted: str
) -> None:
    (tmp_path / "annotations.json").write_bytes(content)
    assert wanted in refused(tmp_path, inputs=X)


def test_commands_alone_take_a_detector(pimc, here: Path) -> None:
    pytest.importorskip("pycocotools", reason="an extra")
    onnx.save(detector(), "detector.onnx")
    pictures(here / "street" / "calib", 24)
    pictures(here / "street" / "test", 24, seed=1)
    (here / "street" / "data.toml").write_text("scale = 255.0\nsize = [16, 16]\n")
    done = pimc("compile", "detector.onnx", "--calib", "street", "--quiet")
    assert done.code == 0, done.err
    shared = ("--data", "street", "--task", "detection", "--dies", 1, "--json")
    done = pimc("eval", "detector.pimc", *shared)
    assert done.code == 0, done.err
    assert done.json["float_metric"] > 0.95
    assert done.json["metric_mean"] > 0.5
    done = pimc("recover", "detector.pimc", "--calib", "street", *shared, "--strategy", "affine")
    assert done.code == 0, done.err
    assert Path("detector.r1.pimc").exists()
