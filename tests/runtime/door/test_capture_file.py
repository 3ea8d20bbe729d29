"""The file of a capture: read back as written; refused where damaged or of another image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.errors import CaptureError, UsageError
from pimc.files import container
from pimc.runtime.capture import Capture
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.capture_file import FORMAT, VERSION
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.session import Session
from tests.resealing import changes_of, content_of, names, reseal
from tests.runtime.captures import NOISELESS, image_of, same, take


@pytest.fixture(scope="module")
def taken(tiny_image, tiny_inputs) -> Capture:
    return take(tiny_image, tiny_inputs)


@pytest.fixture
def saved(taken, tmp_path) -> Path:
    path = tmp_path / "a.pimccap"
    taken.save(path)
    return path


def test_round_trip(taken, saved, tiny_image, tmp_path) -> None:
    loaded = Capture.load(saved, tiny_image)
    assert same(loaded, taken)
    loaded.save(tmp_path / "b.pimccap")
    assert (tmp_path / "b.pimccap").read_bytes() == saved.read_bytes()
    noted = replace(taken, taken="2026-01-31T12:00:00Z", reads=12345)
    noted.save(saved)
    assert same(Capture.load(saved, tiny_image), noted)


def test_refused_for_another_image(saved, tiny_image) -> None:
    levels = tiny_image.levels.copy()
    levels[tuple(np.argwhere(tiny_image.used)[0])] ^= 1
    with pytest.raises(CaptureError, match="another image") as caught:
        Capture.load(saved, tiny_image.updated(levels=levels))
    assert caught.value.where == str(saved)
    assert caught.value.hint


def test_a_missing_or_truncated_file_is_refused(saved, tiny_image, tmp_path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        Capture.load(tmp_path / "none.pimccap", tiny_image)
    data = saved.read_bytes()
    for length in (0, 4, 100, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:length])
        with pytest.raises(CaptureError):
            Capture.load(saved, tiny_image)


def test_every_damage_is_refused(saved, tiny_image) -> None:
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 150):
        flip = int(rng.integers(1, 256))
        saved.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        with pytest.raises(CaptureError):
            Capture.load(saved, tiny_image)


def test_an_image_is_no_capture(tiny_image, tmp_path) -> None:
    tiny_image.save(tmp_path / "x.pimccap")
    with pytest.raises(CaptureError, match="this is a chip image, not a capture"):
        Capture.load(tmp_path / "x.pimccap", tiny_image)


def rewrite(path: Path, change: Any) -> None:
    """Change manifest and tensors of a file and seal it again, as lab software would."""
    manifest, tensors = container.load(path, FORMAT, VERSION, CaptureError)
    tensors = dict(tensors)
    change(manifest, tensors)
    container.save(path, *container.seal(FORMAT, VERSION, manifest, tensors))


def in_tensors(name: str, make: Any) -> Any:
    def change(manifest: Any, tensors: Any) -> None:
        tensors[f"layer.0000.{name}"] = make(tensors[f"layer.0000.{name}"])

    return change


def in_manifest(key: str, value: Any) -> Any:
    def change(manifest: Any, tensors: Any) -> None:
        if value is None:
            del manifest[key]
        else:
            manifest[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_manifest("die", None),
        in_manifest("image", None),
        in_manifest("layers", None),
        in_manifest("outputs", None),
        in_manifest("reads", "many"),
        in_manifest("layers", [0, 1, 2, 3]),
        in_manifest("layers", [-1]),
        in_manifest("layers", ["0"]),
        in_manifest("outputs", ["other"]),
        lambda manifest, tensors: tensors.pop("layer.0001.codes"),
        in_tensors("inputs", lambda x: x[:, :-1]),
        in_tensors("inputs", lambda x: x[:, :, :-1]),
        in_tensors("inputs", lambda x: x.astype(np.float32)),
        in_tensors("inputs", lambda x: x * 0 + 300),
        in_tensors("codes", lambda x: x[0]),
        in_tensors("codes", lambda x: x.astype(np.int64)),
        in_tensors("codes", lambda x: x.astype(np.uint16)),
        in_tensors("codes", lambda x: x.transpose(0, 1, 3, 2)),
        in_tensors("codes", lambda x: x * 0 + 128),
        in_tensors("codes", lambda x: np.int16(5)),
        in_tensors("outputs", lambda x: x.T),
        in_tensors("outputs", lambda x: x.astype(np.float64)),
        in_tensors("outputs", lambda x: x * np.nan),
    ],
)
def test_a_whole_file_with_wrong_content_is_refused(saved, tiny_image, change) -> None:
    rewrite(saved, change)
    with pytest.raises(CaptureError) as caught:
        Capture.load(saved, tiny_image)
    assert caught.value.where == str(saved)
    assert "capture-format.md" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_manifest("die", None), "die: missing"),
        (in_manifest("die", 3), "die: must be a string"),
        (in_manifest("reads", "many"), "reads: must be a whole number, -1 or more"),
        (in_manifest("layers", [0, 1, 2, 3]), "layers: the image has no 3"),
        (in_manifest("layers", [0, 1, 1, 2]), "layers: one is named twice"),
        (in_manifest("layers", [0, 1]), "tensor layer.0002.codes is of nothing that is named"),
        (in_manifest("outputs", ["other"]), "outputs: the image has no 'other'"),
        (in_manifest("outputs", []), "tensor output.y is of nothing that is named"),
        (lambda m, t: t.pop("layer.0001.codes"), "has no tensor layer.0001.codes"),
        (lambda m, t: t.pop("output.y"), "has no tensor output.y"),
        (lambda m, t: t.update({"output.y": t["output.y"][:, :2]}), "tensor output.y is float32"),
        (lambda m, t: t.update({"output.y": t["output.y"] * np.nan}), "tensor output.y holds"),
        (in_tensors("outputs", lambda x: x * np.inf), "tensor layer.0000.outputs holds"),
        (in_tensors("inputs", lambda x: x[:, :, :0]), "tensor layer.0000.codes is int16"),
        (in_tensors("codes", lambda x: x * 0 + 128), "holds values that are outside -128 to 127"),
    ],
)
def test_what_is_wrong_is_named(saved, tiny_image, change, message) -> None:
    rewrite(saved, change)
    with pytest.raises(CaptureError) as caught:
        Capture.load(saved, tiny_image)
    assert caught.value.exit_code == 2
    assert message in str(caught.value)


def test_one_change_is_refused_or_can_be_used(saved, tiny_image, tmp_path) -> None:
    """Of any tensor or key: type, shape, value or absence."""
    content = content_of(saved, FORMAT, VERSION)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        change = data.draw(changes_of(content))
        path = reseal(content, tmp_path / "x.pimccap", change.apply)
        try:
            found = Capture.load(path, tiny_image)
        except CaptureError as error:
            refused = str(error)
        else:
            found.save(tmp_path / "again.pimccap")
            assert same(Capture.load(tmp_path / "again.pimccap", tiny_image), found)
            return
        assert names(change, refused) or "image" in change.what, f"{change}: {refused}"

    each()


def test_time_and_read_count_may_be_left_out(saved, tiny_image, taken) -> None:
    rewrite(saved, in_manifest("taken", None))
    rewrite(saved, in_manifest("reads", None))
    assert same(Capture.load(saved, tiny_image), replace(taken, reads=-1))


def test_wide_integers_are_taken_too(saved, tiny_image, taken) -> None:
    rewrite(saved, in_tensors("inputs", lambda x: x.astype(np.int32)))
    rewrite(saved, in_tensors("codes", lambda x: x.astype(np.int32)))
    loaded = Capture.load(saved, tiny_image)
    assert loaded.layers[0].codes.dtype == np.int32
    np.testing.assert_array_equal(loaded.layers[0].codes, taken.layers[0].codes)


def test_codes_of_sixteen_bits_without_sign_are_kept(tiny_model, tiny_inputs, tmp_path) -> None:
    wide = {"dac.bits": 16, "dac.signed": False, "adc.bits": 16, "mapping.pedestal": "digital"}
    image = image_of(tiny_model(), tiny_inputs, NOISELESS | wide)
    die = Die.simulated(3)
    captured = take(image, tiny_inputs, die)
    captured.save(tmp_path / "a.pimccap")
    loaded = Capture.load(tmp_path / "a.pimccap", image)
    assert same(loaded, captured)
    device = Session(image, die=die).device
    replay = ReplayDevice(image, loaded)
    for layer in image.layers:
        record, where = loaded.layers[layer.index], Region.of(image, layer)
        assert record.inputs.dtype == record.codes.dtype == np.int32
        assert max(record.inputs.max(), record.codes.max()) > 2**15
        inputs = torch.from_numpy(record.inputs.astype(np.float32))[None]
        again = device.read(where, inputs)
        np.testing.assert_array_equal(record.codes[0], again[0].numpy())
        torch.testing.assert_close(replay.read(where, inputs), again)


def test_a_file_that_cannot_be_written_leaves_nothing(taken, tmp_path) -> None:
    with pytest.raises(UsageError):
        taken.save(tmp_path / "missing" / "a.pimccap")
    assert list(tmp_path.iterdir()) == []
