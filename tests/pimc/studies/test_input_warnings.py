"""Inputs beyond what a network was made for are told of, by the commands in JSON and on stderr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.api import compile
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.studies.evaluate import float_session
from pimc.studies.input_warnings import chance_warning, data_warnings, feed_warnings

CLIPPED = "of the inputs lie beyond the DAC's range of the first layer, w1, and are cut off"


@pytest.fixture(scope="module")
def old_image(tiny_image: Image) -> Image:
    """As an older pimc wrote it: it does not say what it was calibrated on."""
    manifest = {key: value for key, value in tiny_image.manifest.items() if key != "calibration"}
    return Image.build(manifest, tiny_image.tensors)


def test_inputs_like_the_calibration_data_get_no_warning(
    tiny_image, old_image, tiny_inputs
) -> None:
    for image in (tiny_image, old_image):
        assert data_warnings(image, Dataset.of(tiny_inputs)) == []
        assert feed_warnings(image, {"x": tiny_inputs[:1]}) == []


def test_inputs_beyond_the_dac_are_counted_also_where_nothing_is_known(
    old_image, tiny_inputs
) -> None:
    (found,) = data_warnings(old_image, Dataset.of(3 * tiny_inputs))
    assert CLIPPED in found
    assert "not divided by 255, normalised twice" in found
    few = tiny_inputs.copy()
    few.reshape(-1)[::200] *= 100  # one in two hundred
    assert data_warnings(old_image, Dataset.of(few)) == []


def test_a_network_that_scales_every_vector_has_no_range_to_meet(
    dynamic_image, tiny_inputs
) -> None:
    assert data_warnings(dynamic_image, Dataset.of(1000 * tiny_inputs)) == []


def test_both_are_told(tiny_image, tiny_inputs) -> None:
    unlike, beyond = data_warnings(tiny_image, Dataset.of(255 * tiny_inputs))
    assert "not like the calibration data: bytes not divided by 255, it seems" in unlike
    assert CLIPPED in beyond


def test_float_accuracy_at_chance(tiny_image, tiny_inputs) -> None:
    data = Dataset.of(tiny_inputs, np.zeros(64, int))
    found = chance_warning(tiny_image, data, 0.25)
    assert found is not None
    assert found.startswith("the float network is right on 25.0 % of 64 samples, where chance is")
    assert "RGB and BGR" in found
    assert chance_warning(tiny_image, data, 0.6) is None
    assert chance_warning(tiny_image, data, None) is None
    assert chance_warning(tiny_image, data.subset(np.arange(8)), 0.25) is None


@pytest.fixture
def job(tiny_model, tiny_image, tiny_inputs, here) -> Path:
    """An image, and data: right, and as if bytes had not been divided."""
    onnx.save(tiny_model(), "tiny.onnx")
    tiny_image.save("tiny.pimc")
    y = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    np.savez("good.npz", x=tiny_inputs, y=y)
    np.savez("bytes.npz", x=255 * tiny_inputs, y=(y + 1) % 4)
    return here


COMMANDS = {
    "eval": ("eval", "tiny.pimc", "--dies", "1", "--data"),
    "capture": ("capture", "tiny.pimc", "--vectors", "16", "--calib"),
    "recover": ("recover", "tiny.pimc", "--strategy", "none", "--calib"),
    "run": ("run", "tiny.pimc", "-o", "y.npz", "--input"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_tell_it_in_json_and_on_stderr(pimc, job, command: str) -> None:
    if command == "run":
        for name in ("good", "bytes"):
            np.savez(f"{name}.npz", x=np.load(f"{name}.npz")["x"])
    done = pimc(*COMMANDS[command], "good.npz", "--json")
    assert (done.code, done.json["warnings"]) == (0, []), done.err
    assert "warning" not in done.err
    done = pimc(*COMMANDS[command], "bytes.npz", "--json", "--quiet")
    assert done.code == 0, done.err
    assert any("bytes not divided by 255" in text for text in done.json["warnings"])
    assert any(CLIPPED in text for text in done.json["warnings"])
    for text in done.json["warnings"]:
        assert f"warning: {text}\n" in done.err


@pytest.mark.parametrize("command", ["eval", "recover"])
def test_chance_is_told_where_accuracy_is_measured(pimc, job, command: str) -> None:
    more = ("good.npz", "--data", "bytes.npz") if command == "recover" else ("bytes.npz",)
    done = pimc(*COMMANDS[command], *more, "--json")
    assert done.code == 0, done.err
    assert any(text.startswith("the float network is right") for text in done.json["warnings"])


def test_compiling_twice_gives_the_same_note(tiny_model, tiny_inputs, tiny_chip) -> None:
    one, two = (compile(tiny_model(), tiny_chip, calib=tiny_inputs) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()
