"""WAV files: what the network gets of them, what is refused, and commands alone."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from scipy.io import wavfile

from pimc.data import rows
from pimc.data.dataset import load_data
from pimc.data.kinds.sound import Audio
from pimc.errors import DataError
from pimc.runtime.session import NodeArg
from tests.pimc.data.data_files import refused
from tests.pimc.data.kinds.standins import lines, listener, tone

WAVE = [NodeArg("x", ["N", "T"], "tensor(float)")]
LOG_MEL = '[audio]\nfront_end = "log-mel"\nmels = 10\n'


def test_sub_folders_are_classes_and_samples_lie_between_minus_one_and_one(tmp_path: Path) -> None:
    tone(tmp_path / "low" / "a.wav", 200)
    tone(tmp_path / "high" / "b.WAV", 2000)
    data = load_data(tmp_path, inputs=WAVE)
    assert data.classes == ("high", "low")
    assert data.targets["y"][:].tolist() == [0, 1]
    x = data.all()
    assert x.shape == (2, 2000)
    _, stored = wavfile.read(tmp_path / "low" / "a.wav")
    np.testing.assert_array_equal(x[1], stored / np.float32(32768))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_every_width(tmp_path: Path, width: int) -> None:
    wanted = np.array([-1.0, -0.5, 0.0, 0.5])
    scaled = (wanted * 2.0 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
    content = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in scaled)
    with wave.open(str(tmp_path / "a.wav"), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(width)
        stream.setframerate(8000)
        stream.writeframes(content)
    np.testing.assert_allclose(load_data(tmp_path, inputs=WAVE).all()[0], wanted)


def test_channels_are_averaged_and_real_numbers_stay(tmp_path: Path) -> None:
    stereo = np.array([[0.25, 0.75], [-0.5, 0.5]], np.float32)
    wavfile.write(tmp_path / "a.wav", 8000, stereo)
    assert load_data(tmp_path, inputs=WAVE).all().tolist() == [[0.5, 0.0]]


def test_sounds_are_cut_or_filled_up(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 200, seconds=0.1)
    tone(tmp_path / "b.wav", 200, seconds=0.2)
    assert "b.wav: makes (1600,), a.wav (800,)" in refused(tmp_path, inputs=WAVE)
    (tmp_path / "data.toml").write_text("[audio]\nseconds = 0.15\n")
    x = load_data(tmp_path, inputs=WAVE).all()
    assert x.shape == (2, 1200)
    assert not x[0, 800:].any()
    assert x[1, 800:].any()


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("CT", (10, 26)), ("TC", (26, 10)), ("1CT", (1, 10, 26)), ("1TC", (1, 26, 10)),
        ("CT1", (10, 26, 1)), ("TC1", (26, 10, 1)),
    ],
)  # fmt: skip
def test_axes_are_in_the_order_that_is_said(tmp_path: Path, axes: str, shape: Any) -> None:
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "data.toml").write_text(LOG_MEL)
    plain = load_data(tmp_path).all()[0]
    assert plain.shape == (10, 26)
    (tmp_path / "data.toml").write_text(f'{LOG_MEL}axes = "{axes}"\n')
    found = load_data(tmp_path).all()[0]
    assert found.shape == shape
    wanted = plain if axes.index("C") < axes.index("T") else plain.T
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


def test_a_waveform_may_have_an_axis_of_one(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "data.toml").write_text('[audio]\naxes = "1T"\n')
    assert load_data(tmp_path).all().shape == (1, 1, 2000)


def test_many_sounds_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: Any) -> None:
    for number in range(3):
        tone(tmp_path / f"{number}.wav", 300, seed=number)
    (tmp_path / "data.toml").write_text(LOG_MEL)
    held = load_data(tmp_path).all()
    monkeypatch.setattr(rows, "HELD_BYTES", 8)
    lazy = load_data(tmp_path)
    assert not isinstance(lazy.x, np.ndarray)
    np.testing.assert_array_equal(lazy.all(), held)


def test_lines_name_sounds_and_what_is_said_in_them(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "a.wav", 440)
    tone(tmp_path / "b.wav", 880)
    (tmp_path / "data.toml").write_text("[audio]\n")
    entries = {"audio": "clips/a.wav", "y": [3, 1]}, {"audio": "b.wav", "y": [2], "who": "he"}
    data = load_data(lines(tmp_path / "calib.jsonl", entries), inputs=WAVE)
    assert len(load_data(tmp_path, inputs=WAVE)) == len(data) == 2
    assert data.targets["y"][:].tolist() == [[3, 1], [2, -1]]
    path = lines(tmp_path / "a.jsonl", [entries[0], {"audio": "../b.wav"}])
    assert "line 2: '../b.wav' lies in another folder" in refused(path, inputs=WAVE)
    lines(path, [entries[0], {"audio": "c.wav"}])
    assert "line 2: no such file 'c.wav'" in refused(path, inputs=WAVE)
    lines(path, [{"sound": "b.wav"}])
    assert "line 1: has no audio" in refused(path, inputs=WAVE)
    path.write_text("")
    assert "holds no samples" in refused(path, inputs=WAVE)


def test_lines_name_sounds_and_their_classes(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "data.toml").write_text('classes = ["no", "yes"]\n[audio]\n')
    for key in ("label", "y"):
        entries: list[dict[str, object]] = [
            {"audio": "a.wav", key: "yes"},
            {"audio": "a.wav", key: 0},
        ]
        path = lines(tmp_path / "calib.jsonl", entries)
        assert load_data(path, inputs=WAVE).targets["y"][:].tolist() == [1, 0]
    lines(path, [{"audio": "a.wav", "y": "perhaps"}])
    assert "line 1: y is 'perhaps', no number and no class" in refused(path, inputs=WAVE)


def test_files_that_are_no_sounds_are_refused(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 440)
    whole = (tmp_path / "a.wav").read_bytes()
    for content in (b"", b"RIFF", b"nothing at all", whole[:30], whole[:4] + b"\xff" * 40):
        (tmp_path / "a.wav").write_bytes(content)
        assert "a.wav: " in refused(tmp_path, inputs=WAVE)
    wavfile.write(tmp_path / "a.wav", 8000, np.array([np.nan], np.float32))
    assert "a.wav: holds NaN or infinity" in refused(tmp_path, inputs=WAVE)
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(0, np.int16))
    assert "a.wav: holds no samples" in refused(tmp_path, inputs=WAVE)


def test_truncated_files_are_refused_and_streams_taken(tmp_path: Path) -> None:
    """Filled up with silence, half a sound would count as a whole one."""
    tone(tmp_path / "a.wav", 200, seconds=0.1)
    (tmp_path / "data.toml").write_text("[audio]\nseconds = 0.1\n")
    whole = (tmp_path / "a.wav").read_bytes()
    values = load_data(tmp_path, inputs=WAVE).all()
    for end in (len(whole) - 2, 100):
        (tmp_path / "a.wav").write_bytes(whole[:end])
        assert "a.wav: is no readable sound: it is truncated" in refused(tmp_path, inputs=WAVE)
    streamed = whole[:40] + b"\xff" * 4 + whole[44:]
    (tmp_path / "a.wav").write_bytes(streamed)
    assert np.array_equal(load_data(tmp_path, inputs=WAVE).all(), values)


def test_rates_are_not_guessed(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "data.toml").write_text("[audio]\nrate = 16000\n")
    assert "a.wav: has 8000 samples a second, not 16000" in refused(tmp_path, inputs=WAVE)
    (tmp_path / "data.toml").unlink()
    tone(tmp_path / "b.wav", 440, rate=4000, seconds=0.5)
    assert "b.wav: has 4000 samples a second, not 8000" in refused(tmp_path, inputs=WAVE)


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        ('front_end = "mel"', "audio.front_end: must be one of"),
        ('axes = "CT"', "audio.axes: must name C"),
        ('front_end = "mfcc"\nmels = 4', "audio.coefficients: must not be more than mels"),
        ("f_min_hz = 100\nf_max_hz = 50", "audio.f_max_hz: must be above f_min_hz"),
        ('front_end = "mfcc"\nfft = 16', "a window of 200 samples does not fit an fft of 16"),
        ('front_end = "mfcc"\nseconds = 0.001', "is 8 samples long, and a frame needs 129"),
        ('front_end = "mfcc"\nseconds = 0.001\ncentred = false', "and a frame needs 256"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, toml: str, wanted: str) -> None:
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "data.toml").write_text(f"[audio]\n{toml}\n")
    assert wanted in refused(tmp_path)


def test_python_callers_meet_the_same_rules() -> None:
    with pytest.raises(DataError, match="audio"):
        Audio(rate=0)


def test_commands_alone_take_sounds(pimc, here: Path) -> None:
    onnx.save(listener(), "listener.onnx")
    for role, seed in (("calib", 0), ("test", 50)):
        for number in range(12):
            tone(here / "clips" / role / "low" / f"{number}.wav", 200, seed=seed + number)
            tone(here / "clips" / role / "high" / f"{number}.wav", 3000, seed=seed + number)
    (here / "clips" / "data.toml").write_text(f'classes = ["high", "low"]\n{LOG_MEL}')
    done = pimc("compile", "listener.onnx", "--calib", "clips", "--quiet")
    assert done.code == 0, done.err
    done = pimc("eval", "listener.pimc", "--data", "clips", "--dies", 1, "--json")
    assert done.code == 0, done.err
    assert done.json["accuracy_mean"] in (0.0, 1.0)  # which class is high is the network's affair
