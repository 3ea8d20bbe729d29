"""Sections of the manifest: typed where they are read, refused where they are malformed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from pimc.errors import ImageError
from pimc.files.writing.atomic import sha256_array
from pimc.image.format.notes import RecoveryNote, SourceModel
from pimc.image.format.sections import MANIFEST
from pimc.image.image import Image

NOTE = RecoveryNote("ab" * 32, "sim:7", "selective", 12, 2)


def test_all_keys_of_a_manifest_are_described(tiny_image: Image) -> None:
    assert set(tiny_image.manifest) <= set(MANIFEST)


def test_sections_of_an_image(tiny_image: Image) -> None:
    assert tiny_image.model == SourceModel(**tiny_image.manifest["model"])
    assert tiny_image.options == tiny_image.manifest["options"]
    assert tiny_image.calibrated
    assert tiny_image.recovery is None


def test_a_note_is_read_as_it_was_written(tiny_image: Image) -> None:
    noted = tiny_image.with_recovery(NOTE)
    assert noted.recovery == NOTE
    assert noted.manifest["recovery"] == asdict(NOTE)
    newer = tiny_image.updated(recovery=asdict(NOTE) | {"new": 1})
    assert newer.recovery == NOTE


def test_what_calibrated_an_image_is_noted(tiny_image, dynamic_image, tiny_inputs) -> None:
    note = tiny_image.calibration
    assert note is not None
    assert (note.layout, note.scale, note.mean, note.std) == ("NCHW", 1.0, (0.0,), (1.0,))
    assert (note.size, note.samples, note.sha256) == (None, 64, sha256_array(tiny_inputs))
    assert note.channel_mean == pytest.approx(tiny_inputs.mean(axis=(0, 2, 3)), rel=1e-3)
    assert note.channel_std == pytest.approx(tiny_inputs.std(axis=(0, 2, 3)), rel=1e-3)
    assert (note.low, note.high) == pytest.approx((tiny_inputs.min(), tiny_inputs.max()), rel=1e-3)
    # Without data there is nothing to note, and an older image has nothing.
    assert dynamic_image.calibration is None
    assert "calibration" not in dynamic_image.manifest


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", [], "calibration.mean: must not be empty"),
        ("std", [], "calibration.std: must not be empty"),
        ("channel_mean", [], "calibration.channel_mean: must not be empty"),
        ("channel_std", [], "calibration.channel_std: must have as many entries"),
    ],
)
def test_a_note_that_no_inputs_can_be_held_to_is_refused(
    tiny_image: Image, name: str, value: list[float], message: str
) -> None:
    note = tiny_image.manifest["calibration"] | {name: value}
    with pytest.raises(ImageError, match=message):
        assert tiny_image.updated(calibration=note).calibration


def test_options_are_added_to(tiny_image: Image) -> None:
    more = tiny_image.with_options(harden=3)
    assert more.options == {**tiny_image.options, "harden": 3}


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("model", None, "model: must be an object"),
        ("model", {"name": "x.onnx"}, "sha256: missing"),
        ("model", {"name": 3, "sha256": ""}, "name: must be a string"),
        ("options", [], "options: must be an object"),
        ("recovery", "yes", "recovery: must be an object"),
        ("calibration", [], "calibration: must be an object"),
        ("calibration", {"layout": "NC"}, "scale: missing"),
        ("recovery", asdict(NOTE) | {"rounds": -1}, "rounds: must be a whole number, 0 or more"),
    ],
)
def test_a_malformed_section_is_refused(
    tiny_image: Image, section: str, value: Any, message: str
) -> None:
    image = tiny_image.updated(**{section: value})
    with pytest.raises(ImageError, match=message):
        getattr(image, section)
