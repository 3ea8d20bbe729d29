"""Every command and Python example of the pages for beginners runs, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted((DOCS / "howto").glob("*.md"))
#: A fenced block, with the file that it is saved as, if any.
_BLOCK = re.compile(r"(?:^Save as `([\w.-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def python(arguments: list[str], folder: Path) -> None:
    """Run Python in a folder; it must end well."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"


def follow(page: Path, folder: Path, pimc: Callable[..., Any]) -> list[str]:
    """Do what a page says, in the folder, which is the current one; returns what was run.

    Lines of other programs than pimc and Python, such as pip, are for the reader alone.
    """
    told = []
    for name, language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if name:
            (folder / name).write_text(text, encoding="utf-8")
        elif language == "python":
            python(["-c", text], folder)
            told.append(text)
        elif language == "sh":
            for line in text.splitlines():
                first, *rest = shlex.split(line, comments=True) or [""]
                if first == "pimc":
                    done = pimc(*rest)
                    assert done.code == 0, f"{line}\n{done.out}{done.err}"
                    assert done.out.strip(), line
                elif first == "python":
                    python(rest, folder)
                else:
                    continue
                told.append(line)
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_image: Image, tiny_inputs) -> Path:
    """What the pages speak of: a model, its image, data, a die, a driver that is installed."""
    made: Path = tmp_path_factory.mktemp("howto")
    onnx.save(tiny_model(), made / "model.onnx")
    tiny_image.save(made / "model.pimc")
    die = Die.simulated(7)
    Session(tiny_image, die=die)
    die.save(made / "chip7.die")
    (made / "data").mkdir()
    labels = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    for name in ("calib", "test"):
        np.savez(made / "data" / f"{name}.npz", x=tiny_inputs, y=labels)
    (made / "lab_driver.py").write_bytes((DOCS / "lab_driver.py").read_bytes())
    info = made / "lab_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pimc.devices]\nlab = lab_driver:Lab\n")
    return made


#: Pages that begin with an image of the model in place of making one.
BEGIN_WITH_AN_IMAGE = ("drive-silicon", "run-in-a-service")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_can_be_done(
    page: Path, folder: Path, tmp_path: Path, pimc, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(folder, tmp_path / "place")
    if page.stem not in BEGIN_WITH_AN_IMAGE:
        (place / "model.pimc").unlink()
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    assert follow(page, place, pimc)


def test_what_is_installed_is_enough_for_what_follows() -> None:
    """Without an extra nothing runs a network, which all pages for beginners do."""
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    bare = re.compile(r"^pip install \.(?!\[)", re.M)
    assert [page.name for page in pages if bare.search(page.read_text(encoding="utf-8"))] == []


#: Enough images to run every step; the shown figures come from all of them.
IMAGES = 200


def test_ten_minutes_can_be_followed(here: Path, fashion: Path, pimc) -> None:
    for name in ("calib.npz", "test.npz"):
        with np.load(fashion / name) as data:
            np.savez(name, x=data["x"][:IMAGES], y=data["y"][:IMAGES])
    told = follow(DOCS / "start" / "ten-minutes.md", here, pimc)
    assert told[0] == "python train.py"
    assert len(told) >= 10
    assert (here / "net.r1.pimc").exists()
