"""What a person at a terminal sees: a sign of life at once, no colours that are not wanted."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

#: Tells on the terminal when torch begins to be imported, which ends it.
TORCH = """
import sys
class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and sys._getframe(3).f_code.co_name != "_there":
            print("TORCH", file=sys.stderr, flush=True)
            raise SystemExit(0)
sys.meta_path.insert(0, Told())
"""


def on_terminal(code: str, *words: str, **environment: str) -> str:
    """What a program prints on a terminal."""
    unset = {"NO_COLOR", "FORCE_COLOR", "COLORTERM"}
    plain = {name: value for name, value in os.environ.items() if name not in unset}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**plain, "TERM": "xterm", **environment},
    ):  # fmt: skip
        os.close(theirs)
        told = b""
        try:
            while part := os.read(ours, 4096):
                told += part
        except OSError:  # the program has ended
            pass
    os.close(ours)
    return told.decode()


def started(words: list[str]) -> str:
    return on_terminal(f"{TORCH}\nsys.argv[0] = 'pimc'\nfrom pimc.cli import main\nmain()", *words)


def test_a_sign_of_life_comes_before_anything_slow_is_loaded(tiny_image, tmp_path) -> None:
    image = tmp_path / "a.pimc"
    tiny_image.save(image)
    told = started(["verify", str(image)])
    assert told.startswith("pimc verify: getting ready")
    assert "getting ready" in told.partition("TORCH")[0]
    assert "TORCH" in told
    assert "getting ready" not in started(["verify", str(image), "--quiet"])


def test_a_log_gets_no_sign_of_life(pimc, tiny_image, here) -> None:
    tiny_image.save("a.pimc")
    assert "getting ready" not in pimc("verify").err


BAR = """
import time
from pimc.progress import track
for _ in track(range(3), "work"): time.sleep(0.15)
"""


def test_no_color_takes_the_colours_of_bars_away() -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9](;[0-9]+)*m")
    assert colour.search(on_terminal(BAR))
    told = on_terminal(BAR, NO_COLOR="1")
    assert "work" in told
    assert not colour.search(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["info", "modle.pimc"], "modle.pimc: no such file (did you mean model.pimc?)"),
        (["compile", "modell.onnx"], "modell.onnx: no such file (did you mean model.onnx?)"),
        (["run", "--input", "inputs.np"], "(did you mean inputs.npy?)"),
        (["verify", "--data", "inputs.npx"], "(did you mean inputs.npy?)"),
        (["recover", "--calb", "x"], "--calib"),
        (["compile", "modell.onnx", "--chip", "neuram"], "(did you mean neurram?)"),
        (["info", "elsewhere/model.pimc"], "elsewhere/model.pimc: no such file\n"),
    ],
)
def test_a_mistyped_name_is_met_with_the_nearest(pimc, tiny_image, here, words, told) -> None:
    tiny_image.save("model.pimc")
    for name in ("model.onnx", "inputs.npy"):
        (here / name).touch()
    done = pimc(*words)
    assert done.code == 2
    assert told in done.err


def test_hidden_files_are_not_what_was_meant(pimc, here) -> None:
    (here / ".pimc").mkdir()
    assert "did you mean" not in pimc("info", "a.pimc").err
