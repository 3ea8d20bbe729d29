"""The page of data: its commands run, on small networks and data of every kind."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.data.kinds.coco import Boxes
from pimc.data.kinds.sequences import Sequences
from pimc.data.kinds.sound import Audio
from pimc.data.kinds.tokens import Text
from pimc.data.settings import read_settings
from pimc.files.key_table import key_table
from tests.pimc.data.kinds import standins
from tests.pimc.data.test_inputs import two_inputs

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
COMMANDS = {
    title: found
    for title, text in SECTIONS.items()
    if (found := re.findall(r"^    pimc (.+)$", text, re.M))
}


def several_inputs() -> None:
    rng = np.random.default_rng(1)
    onnx.save(two_inputs(), "model.onnx")
    feed: dict[str, Any] = {"ids": rng.integers(0, 50, (16, 7)), "mask": rng.random((16, 7)) > 0.3}
    np.savez("calib.npz", **feed)
    np.savez("test.npz", **feed, y=rng.integers(0, 8, 16))


def text() -> None:
    pytest.importorskip("tokenizers", reason="an extra")
    onnx.save(standins.encoder(), "encoder.onnx")
    onnx.save(standins.language_model(), "language.onnx")
    (example,) = re.findall(r"^((?:    \{\"text.*\n)+)", SECTIONS["Text"], re.M)
    for name, table in (("sentences", "[text]\n"), ("books", "[text]\nwindow = 8\nstride = 4\n")):
        folder = Path(name)
        folder.mkdir()
        standins.tokenizer(folder / "tokenizer.json")
        (folder / "data.toml").write_text(table)
        for seed, role in enumerate(("calib", "test")):
            more = [{"text": text, "label": 0} for text in standins.sentences(16, seed)]
            path = standins.lines(folder / f"{role}.jsonl", more)
            path.write_text(example.replace("    {", "{") + path.read_text())


def one_file_a_sample() -> None:
    rng = np.random.default_rng(1)
    onnx.save(two_inputs(), "two.onnx")
    Path("samples").mkdir()
    for number in range(8):
        np.savez(f"samples/{number}.npz", ids=rng.integers(0, 50, 3 + number % 3))


def boxes() -> None:
    pytest.importorskip("pycocotools", reason="an extra")
    onnx.save(standins.detector(), "detector.onnx")
    for seed, role in enumerate(("calib", "test")):
        standins.pictures(Path("street", role), 16, seed)
    said = re.findall(r"`((?:scale|size) = [^`]+)`", SECTIONS["Boxes"])
    assert len(said) == 2
    Path("street", "data.toml").write_text("\n".join(said))


def sound() -> None:
    onnx.save(standins.listener(), "listener.onnx")
    for seed, role in enumerate(("calib", "test")):
        for number in range(6):
            standins.tone(Path("clips", role, "low", f"{number}.wav"), 200, seed=seed)
            standins.tone(Path("clips", role, "high", f"{number}.wav"), 3000, seed=seed)
    (table,) = re.findall(r"^    (\[audio\]\n(?:    .+\n)+)", SECTIONS["Sound"], re.M)
    shown = table.replace("    ", "")
    Path("shown.toml").write_text(shown)
    assert read_settings(Path("shown.toml"), {}).tables["audio"].mels == 40
    stand_in = shown.replace("16000", "8000").replace("mels = 40", "mels = 10")
    Path("clips", "data.toml").write_text(stand_in)


FILES = {
    "Several inputs": several_inputs,
    "Text": text,
    "One file a sample": one_file_a_sample,
    "Boxes": boxes,
    "Sound": sound,
}


@pytest.mark.parametrize("section", COMMANDS)
def test_the_commands_of_the_page_run(pimc, here: Path, section: str) -> None:
    FILES[section]()
    for command in COMMANDS[section]:
        done = pimc(*shlex.split(command), "--quiet", "--json")
        assert (done.code, done.err) == (0, ""), command
    assert os.listdir(here)


def test_every_section_with_files_has_commands() -> None:
    assert set(COMMANDS) == set(FILES)


@pytest.mark.parametrize(
    ("name", "table"),
    [("text", Text), ("sequences", Sequences), ("boxes", Boxes), ("audio", Audio)],
)
def test_key_tables_are_in_step(name: str, table: type) -> None:
    assert key_table(table, f"{name}.") in PAGE
