"""Kinds of data: JSON lines, tokenizers' files, COCO's boxes, sounds, files of one sample."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from scipy.io import wavfile

from pimc.data.dataset import Dataset, load_data
from pimc.runtime.session import NodeArg
from tests.fuzz.archives import zipped
from tests.fuzz.oracle import Mutate, Target
from tests.fuzz.raw import damaged
from tests.fuzz.values import changed, text_of
from tests.pimc.data.kinds import standins
from tests.released import write_samples

__all__ = ["MAKERS"]

_IMAGE = (Path(write_samples.__file__).parent / "0.1.0" / "tiny.pimc").read_bytes()
_PIXELS = (NodeArg("x", ["N", 3, "H", "W"], "tensor(float)"),)
_SEQUENCE = (NodeArg("x", ["N", "S", 2], "tensor(float)"),)


def _walked(data: Dataset) -> None:
    """Every value of a data set, as commands look at them."""
    for start in range(0, min(len(data), 64), 16):
        for values in data.feed(start, start + 16).values():
            assert np.isfinite(values).all()
        for rows in data.targets.values():
            np.asarray(rows[start : start + 16])


def _target(
    name: str,
    file: str,
    samples: list[bytes],
    kinds: Mapping[str, Mutate],
    read: Callable[[Path], object],
    beside: Mapping[str, bytes],
) -> Target:
    def command(path: Path) -> list[str]:
        return ["verify", "tiny.pimc", "--data", path.name]

    beside = {**beside, "tiny.pimc": _IMAGE}
    return Target(name, file, frozenset({2}), samples, kinds, read, command, beside=beside)


def _json_changed(rng: Random, data: bytes) -> bytes:
    return text_of(json.dumps(changed(rng, json.loads(data)))).encode(errors="replace")


def _lines_changed(rng: Random, data: bytes) -> bytes:
    entries = changed(rng, [json.loads(line) for line in data.splitlines()])
    entries = entries if isinstance(entries, list) else [entries]
    return "".join(f"{text_of(json.dumps(entry))}\n" for entry in entries).encode(errors="replace")


def _lines_of(*entries: Any) -> bytes:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()


@cache
def _tokenizer() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return standins.tokenizer(Path(folder) / "t.json", pad_id=0).read_bytes()


def _lines() -> Target:
    plain = _lines_of({"x": [1, 2], "y": 1, "n": [1]}, {"x": [0.5, 3], "y": 0, "n": [1, 2]})
    ragged = _lines_of({"x": [[1, 2]], "pair": 0}, {"x": [[1, 2], [3, 4]], "pair": 0})

    def read(path: Path) -> None:
        _walked(load_data(path))

    kinds = {"raw": damaged, "values": _lines_changed}
    beside = {"data.toml": b"[sequences]\npad = 0\n"}
    return _target("lines", "x.jsonl", [plain, ragged], kinds, read, beside)


_TEXT = _lines_of({"text": "a cat sat", "label": 1}, {"text": "a", "text_pair": "dog", "label": 0})


def _read_text(path: Path) -> None:
    _walked(load_data(path.with_name("x.jsonl"), inputs=standins.USUAL))


def _text() -> Target:
    kinds = {"raw": damaged, "values": _lines_changed}
    beside = {"data.toml": b"[text]\n", "tokenizer.json": _tokenizer()}
    return _target("text", "x.jsonl", [_TEXT], kinds, _read_text, beside)


def _tokenizer_file() -> Target:
    kinds = {"raw": damaged, "values": _json_changed}
    beside = {"data.toml": b"[text]\n", "x.jsonl": _TEXT}
    return _target("tokenizer", "tokenizer.json", [_tokenizer()], kinds, _read_text, beside)


def _boxes() -> Target:
    with tempfile.TemporaryDirectory() as folder:
        annotations = standins.pictures(Path(folder), 3).read_bytes()
        pictures = {path.name: path.read_bytes() for path in Path(folder).glob("*.png")}

    def read(path: Path) -> None:
        _walked(load_data(path, inputs=_PIXELS))

    kinds = {"raw": damaged, "values": _json_changed}
    beside = {**pictures, "data.toml": b"resize = 24\ncrop = [16, 16]\n"}
    return _target("boxes", "annotations.json", [annotations], kinds, read, beside)


def _sound() -> Target:
    samples = []
    for values in (np.arange(-400, 400, dtype=np.int16), np.zeros((500, 2), np.float32)):
        stream = io.BytesIO()
        wavfile.write(stream, 8000, values)
        samples.append(stream.getvalue())

    def read(path: Path) -> None:
        _walked(load_data(path.parent))

    beside = {"data.toml": b'[audio]\nfront_end = "mfcc"\nseconds = 0.1\n'}
    return _target("sound", "one.wav", samples, {"raw": damaged}, read, beside)


def _sample() -> Target:
    samples = []
    for length in (2, 5):
        stream = io.BytesIO()
        np.savez_compressed(stream, x=np.ones((length, 2), np.float32), y=1, boxes=np.ones((3, 4)))
        samples.append(stream.getvalue())

    def read(path: Path) -> None:
        _walked(load_data(path.parent, inputs=_SEQUENCE))

    beside = {"a.npz": samples[0], "data.toml": b"[sequences]\npad = 0\n"}
    return _target("sample", "b.npz", samples, {"raw": damaged, "members": zipped}, read, beside)


MAKERS = {
    "lines": _lines,
    "text": _text,
    "tokenizer": _tokenizer_file,
    "boxes": _boxes,
    "sound": _sound,
    "sample": _sample,
}
