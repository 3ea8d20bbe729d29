"""The page on networks with a state: its commands and its Python run, on small stand-ins."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.stateful import detector, language_model, sounds, windows

PAGE = (Path(__file__).parents[1] / "docs" / "states.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    pimc (.+)$", PAGE, re.M)]
(TOML,) = re.findall(r"^    (\[states\])\n    (.+)$", PAGE, re.M)
FRAMES, LOUD = sounds(24, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the page names."""
    here: Path = tmp_path_factory.mktemp("states")
    rate = np.int64(16000)
    for name in ("vad", "text"):
        (here / name).mkdir()
    onnx.save(detector(), here / "silero_vad_16k_op15.onnx")
    np.savez(here / "vad" / "calib.npz", input=FRAMES[:16], sr=rate)
    np.savez(here / "vad" / "test.npz", input=FRAMES[16:], sr=rate, y=LOUD[16:])
    (here / "vad" / "data.toml").write_text("\n".join(TOML))
    np.savez(here / "clip.npz", input=FRAMES[:2], sr=rate)
    onnx.save(language_model(), here / "lm.onnx")
    ids = windows(32)
    np.savez(here / "text" / "calib.npz", ids=ids[:24])
    np.savez(here / "text" / "test.npz", ids=ids[24:])
    np.savez(here / "decode.npz", ids=ids[24:, :, None], y=ids[24:])
    return here


def test_the_commands_run_in_their_order(pimc, folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        fast = ["--epochs", "1"] if command[0] == "recover" else []
        done = pimc(*command, *fast, "--quiet", "--json")
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
    with np.load("spoken.npz") as spoken:
        assert spoken["output"].shape == (2, 4, 1)


def python() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_windows_of_sound(folder, tmp_path) -> None:
    sound = (np.random.default_rng(0).standard_normal(2000) * 3000).astype(np.int16)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(sound.tobytes())
    names: dict[str, Any] = {}
    exec(python()[0], names)
    names["save"](tmp_path / "a.npz", [str(tmp_path / "a.wav")] * 2, [np.ones(3, int)] * 2)
    with np.load(tmp_path / "a.npz") as held:
        assert held["input"].shape == (2, 3, 576)
        assert held["y"].shape == (2, 3)
        scaled = sound / np.float32(32768)
        np.testing.assert_array_equal(held["input"][0, 0, 64:], scaled[:512])
        np.testing.assert_array_equal(held["input"][0, 2], scaled[1024 - 64 : 1536])
        assert not held["input"][0, 0, :64].any()


def test_its_python_runs(tmp_path) -> None:
    rng = np.random.default_rng(0)
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        network (float[N, 4] input, float[N, 6] h) => (float[N, 1] p, float[N, 6] hn) {
            both = Concat <axis = 1> (input, h)
            inner = MatMul (both, w)
            hn = Tanh (inner)
            outer = MatMul (hn, v)
            p = Sigmoid (outer)
        }""")
    for name, shape in (("w", (10, 6)), ("v", (6, 1))):
        values = rng.standard_normal(shape).astype(np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(made, tmp_path / "detector.onnx")
    x, y = rng.standard_normal((12, 5, 4)), rng.integers(0, 2, (12, 5))
    np.savez(tmp_path / "sequences.npz", input=x, y=y)
    done = subprocess.run(
        [sys.executable, "-c", python()[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1
