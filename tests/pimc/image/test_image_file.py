"""Image files: same content, same bytes; no change unnoticed."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.errors import ImageError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from tests.pimc.image.tiny_images import CHIP, graph, saved, tiny

DOC = Path(__file__).parents[3] / "docs" / "image-format.md"
#: Of the image built below. It changes with the format, whose version must then change too.
GOLDEN = "c22854ecefddcee156679bc2236960cb96061d0d504516d9a1cd646949eac7ff"


# --- bytes -----------------------------------------------------------------------------------


def test_golden_bytes() -> None:
    assert hashlib.sha256(tiny().to_bytes()).hexdigest() == GOLDEN


def test_load_gives_back_what_was_saved(tmp_path: Path) -> None:
    image = Image.load(saved(tmp_path))
    assert image.manifest == tiny().manifest
    assert image.sha256 == tiny().sha256
    assert image.to_bytes() == tiny().to_bytes() == (tmp_path / "tiny.pimc").read_bytes()
    assert image.chip == CHIP
    assert image.graph().graph.node(0).domain == "pimc"


def hexdump(data: bytes) -> dict[int, str]:
    """Lines by offset, in the form of `hexdump -C`."""
    lines = {}
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        halves = (" ".join(f"{byte:02x}" for byte in part) for part in (row[:8], row[8:]))
        lines[start] = f"{start:08x}  {'  '.join(halves):<48}  |{text}|"
    return lines


def test_the_dump_in_the_specification_is_this_image() -> None:
    data = tiny().to_bytes()
    dump = hexdump(data)
    shown = re.findall(r"^    ([0-9a-f]{8}  .*\|)$", DOC.read_text(encoding="utf-8"), re.M)
    assert [dump[int(line[:8], 16)] for line in shown] == shown
    # Whole from the first byte of the data to the end.
    start = 8 + struct.unpack("<Q", data[:8])[0]
    assert {int(line[:8], 16) for line in shown} >= set(range(start // 16 * 16, len(data), 16))
    text = DOC.read_text(encoding="utf-8")
    assert f"{len(data):,} bytes" in text
    assert hashlib.sha256(data).hexdigest() in text
    assert tiny().sha256 in text


# --- damage ----------------------------------------------------------------------------------


def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for at in rng.choice(len(data), 200, replace=False).tolist():
        flip = 1 << int(rng.integers(8))
        path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        with pytest.raises(ImageError):
            Image.load(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    for length in (0, 4, 8, 64, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="truncated or damaged"):
            Image.load(path)


def test_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setattr("pimc.image.image.VERSION", 3)
    tiny().save(tmp_path / "newer.pimc")
    monkeypatch.undo()
    with pytest.raises(ImageError, match=r"format version 3 is newer than this pimc reads \(2\)"):
        Image.load(tmp_path / "newer.pimc")
    Image.load(path)


def test_a_die_is_no_image(tmp_path: Path) -> None:
    die = Die.simulated(3)
    die.attach(CHIP, 1)
    die.save(tmp_path / "chip.die")
    with pytest.raises(ImageError, match="this is a die file, not a chip image"):
        Image.load(tmp_path / "chip.die")


def test_an_onnx_file_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "model.pimc"
    onnx.save(onnx.load_model_from_string(graph()), path)
    with pytest.raises(ImageError, match="this is an ONNX model, not a chip image"):
        Image.load(path)


def test_saving_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        tiny().save(tmp_path / "none" / "x.pimc")
