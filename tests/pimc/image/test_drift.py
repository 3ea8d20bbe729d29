"""Constants by age: what lies between the ages that are stated, and beyond them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.image.drift import compensation_at
from pimc.image.format.notes import DriftNote
from pimc.image.image import Image

AGES = (1.0, 100.0, 10_000.0)


def with_tables(image: Image, ages: int = 3) -> Image:
    """The image whose columns lose a tenth in a hundredfold time."""
    layers = []
    for layer in image.layers:
        ones = np.ones((ages, layer.groups * layer.cols), np.float32)
        grown = ones * np.arange(ages, dtype=np.float32)[:, None]
        gain = (ones / 0.9**grown).astype(np.float32)
        layers.append(replace(layer, drift_gain=gain, drift_pedestal=grown, drift_offset=-grown))
    return image.with_drift(DriftNote(AGES, True), layers)


def test_between_ages_logarithms_of_time_count(tiny_image: Image) -> None:
    layer = with_tables(tiny_image).layers[0]
    found = compensation_at(layer, AGES, 10.0)
    assert found is not None
    np.testing.assert_allclose(found.gain, 0.9**-0.5, rtol=1e-6)  # a power law is met exactly
    np.testing.assert_allclose(found.pedestal_us, 0.5)
    np.testing.assert_allclose(found.offset_us, -0.5)
    at = compensation_at(layer, AGES, 100.0)
    assert at is not None
    np.testing.assert_allclose(at.pedestal_us, 1.0, rtol=1e-12)


def test_beyond_the_ages_the_ends_hold(tiny_image: Image) -> None:
    layer = with_tables(tiny_image).layers[0]
    assert compensation_at(layer, AGES, 0.0) is None
    assert compensation_at(layer, AGES, 1.0) is None
    late = compensation_at(layer, AGES, 1e12)
    assert late is not None
    np.testing.assert_allclose(late.pedestal_us, 2.0)
    assert compensation_at(tiny_image.layers[0], AGES, 1e6) is None


def test_it_is_part_of_the_file_and_of_no_other(tiny_image: Image, tmp_path) -> None:
    image = with_tables(tiny_image)
    image.save(tmp_path / "a.pimc")
    again = Image.load(tmp_path / "a.pimc")
    assert again.sha256 == image.sha256
    assert again.drift == DriftNote(AGES, True)
    np.testing.assert_array_equal(again.layers[1].drift_gain, image.layers[1].drift_gain)
    assert tiny_image.drift is None
    assert "drift" not in tiny_image.manifest
    # The version says what a reader must know, and one that does not know this computes as before.
    assert image.manifest["version"] == tiny_image.manifest["version"]


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ({"ages_s": [1.0], "calibrated": True}, "drift.ages_s: must have two entries"),
        ({"ages_s": [1.0, 1.0, 2.0], "calibrated": True}, "drift.ages_s: must be strictly"),
        ({"ages_s": [0.0, 1.0, 2.0], "calibrated": True}, "drift.ages_s"),
        ({"ages_s": [1.0, 2.0, 3.0]}, "calibrated"),
        ({"ages_s": [1.0, 2.0], "calibrated": True}, "3 ages of layer 0, the manifest states 2"),
        (None, "3 ages of layer 0, the manifest states 0"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_image: Image, tmp_path, note, told) -> None:
    image = with_tables(tiny_image).updated(drift=note)
    image.save(tmp_path / "a.pimc")
    with pytest.raises(ImageError, match=told):
        Image.load(tmp_path / "a.pimc")


def test_a_layer_without_tables_beside_others_is_refused(tiny_image: Image, tmp_path) -> None:
    image, note = with_tables(tiny_image), DriftNote(AGES, True)
    bare = replace(image.layers[1], drift_gain=None, drift_pedestal=None, drift_offset=None)
    image.with_drift(note, [image.layers[0], bare, *image.layers[2:]]).save(tmp_path / "a.pimc")
    with pytest.raises(ImageError, match="0 ages of layer 1, the manifest states 3"):
        Image.load(tmp_path / "a.pimc")


def test_tables_come_together(tiny_image: Image) -> None:
    layer = replace(tiny_image.layers[0], drift_gain=np.ones((2, 6), np.float32))
    with pytest.raises(ImageError, match="drift_pedestal"):
        layer.require_tensors()
