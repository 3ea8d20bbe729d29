"""Image files: where they lie, how they are brought to size, and that they are read when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pimc.data.images
import pimc.data.rows
from pimc.data.dataset import Dataset, Preprocess, load_data
from pimc.data.images import pixels
from pimc.errors import DataError
from tests.pimc.data.data_files import image, npz, refused

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 256, (30, 61, 3), dtype=np.uint8)


def of(tmp_path: Path, array: Any = WIDE, **how: Any) -> np.ndarray:
    image(tmp_path / "one.png", array)
    return pixels(tmp_path / "one.png", Preprocess(**how), 3)


# --- size ------------------------------------------------------------------------------------


def test_the_short_side_is_resized_and_the_middle_cut_out(tmp_path: Path) -> None:
    found = of(tmp_path, resize=20, crop=(16, 18), interpolation="bicubic")
    # 61 · 20 / 30 = 40.67, cut off; the middle of 20 × 40.
    wanted = np.asarray(Image.fromarray(WIDE).resize((40, 20), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found, wanted[2:18, 11:29])


def test_an_upright_picture(tmp_path: Path) -> None:
    found = of(tmp_path, WIDE.transpose(1, 0, 2), resize=20)
    assert found.shape == (40, 20, 3)


def test_half_pixels_are_rounded_to_even_as_python_does(tmp_path: Path) -> None:
    # (30 − 27) / 2 = 1.5 → 2, (61 − 60) / 2 = 0.5 → 0: torchvision's CenterCrop.
    np.testing.assert_array_equal(of(tmp_path, crop=(27, 60)), WIDE[2:29, 0:60])


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_interpolations(tmp_path: Path, name: str) -> None:
    wanted = Image.fromarray(WIDE).resize((12, 8), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(of(tmp_path, size=(8, 12), interpolation=name), wanted)


def test_a_picture_smaller_than_the_crop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one.png: is 30x61, and 32x32 is to be cut out of it"):
        of(tmp_path, crop=(32, 32))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"size": (4, 4), "resize": 4}, "size: excludes resize and crop"),
        ({"crop": (4,)}, r"crop: must be \[height, width\]"),
        ({"interpolation": "bicubid"}, "did you mean bicubic"),
        ({"resize": 0}, "resize: must be a whole number above 0"),
    ],
)
def test_settings_that_contradict(how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Preprocess(**how)


def test_stored_arrays_that_have_the_size_are_taken() -> None:
    x = np.ones((2, 3, 8, 9))
    assert len(Dataset.of(x, preprocess=Preprocess(resize=99, crop=(8, 9)))) == 2
    assert len(Dataset.of(x, preprocess=Preprocess(resize=8))) == 2
    for how in ({"crop": (8, 8)}, {"resize": 9}):
        with pytest.raises(DataError, match="stored arrays are not resized"):
            Dataset.of(x, preprocess=Preprocess(**how))


# --- folders ---------------------------------------------------------------------------------


def pictures(folder: Path, count: int = 6) -> np.ndarray:
    """Images of two classes, one after the other."""
    x = RNG.integers(0, 256, (count, 8, 10, 3), dtype=np.uint8)
    for number, one in enumerate(x):
        image(folder / ("a" if number < count // 2 else "b") / f"{number}.png", one)
    return x


def test_sub_folders_name_the_classes(tmp_path: Path) -> None:
    pictures(tmp_path)
    assert load_data(tmp_path).classes == ("a", "b")
    (tmp_path / "data.toml").write_text('classes = ["ant", "bee"]')
    assert load_data(tmp_path).classes == ("ant", "bee")


def test_folders_for_a_purpose(tmp_path: Path) -> None:
    pictures(tmp_path / "train", 6)
    pictures(tmp_path / "val", 4)
    (tmp_path / "data.toml").write_text("scale = 255")
    assert len(load_data(tmp_path)) == 6
    test = load_data(tmp_path, role="test")
    assert (len(test), test.preprocess.scale) == (4, 255)
    (tmp_path / "val" / "data.toml").write_text("scale = 2")
    assert load_data(tmp_path, role="test").preprocess.scale == 2


def test_images_side_by_side_have_no_labels(tmp_path: Path) -> None:
    image(tmp_path / "b.png", WIDE)
    image(tmp_path / "a.png", 255 - WIDE)
    data = load_data(tmp_path)
    assert (len(data), data.y, data.classes) == (2, None, ())
    np.testing.assert_array_equal(data.batch(1, 2)[0], WIDE.transpose(2, 0, 1))


def test_a_data_file_goes_before_images_beside_it(tmp_path: Path) -> None:
    npz(tmp_path / "calib.npz")
    image(tmp_path / "a.png", WIDE)
    assert load_data(tmp_path).name == "calib.npz"


# --- read as they are needed -----------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded; images are not kept."""
    names: list[str] = []

    def counted(file: Path, *how: Any) -> Any:
        names.append(file.name)
        return pixels(file, *how)

    monkeypatch.setattr(pimc.data.images, "pixels", counted)
    monkeypatch.setattr(pimc.data.rows, "HELD_BYTES", 0)
    return names


def test_images_are_decoded_when_they_are_asked_for(tmp_path: Path, decoded: list[str]) -> None:
    x = pictures(tmp_path).transpose(0, 3, 1, 2)
    data = load_data(tmp_path, input_shape=(None, 3, 8, 10))
    assert decoded == ["0.png"]
    decoded.clear()
    np.testing.assert_array_equal(data.batch(3, 5), x[3:5])
    assert decoded == ["3.png", "4.png"]
    part = data.subset([5, 0, 1])
    np.testing.assert_array_equal(part.subset([1, 0]).batch(0, 2), x[[0, 5]])
    assert decoded[2:] == ["0.png", "5.png"]
    assert part.y is not None
    assert part.y.tolist() == [1, 0, 0]


def test_an_image_of_another_size_is_named_when_it_is_met(
    tmp_path: Path, decoded: list[str]
) -> None:
    pictures(tmp_path)
    image(tmp_path / "b" / "9.png", WIDE)
    data = load_data(tmp_path)
    with pytest.raises(DataError, match=r"9.png: is 30x61, 0.png is 8x10 \(state size"):
        data.batch(6, 7)
    assert "state size" in refused_when_kept(tmp_path)


def refused_when_kept(folder: Path) -> str:
    pimc.data.rows.HELD_BYTES = 1 << 20
    return refused(folder)
