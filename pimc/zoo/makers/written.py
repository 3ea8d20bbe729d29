"""Small files of many types, written from a seed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import wave
import zipfile
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

import numpy as np

from pimc.zoo.makers.rendered import WORDS

__all__ = ["KINDS"]

Random = np.random.Generator


def _words(rng: Random, count: int) -> list[str]:
    return [str(word) for word in rng.choice(WORDS, count)]


def _text(rng: Random, sentences: int = 30) -> str:
    made = (" ".join(_words(rng, int(rng.integers(5, 14)))).capitalize() for _ in range(sentences))
    return ". ".join(made) + ".\n"


def _rows(rng: Random) -> list[list[str]]:
    columns = int(rng.integers(3, 7))
    numbers = rng.integers(0, 10_000, (int(rng.integers(20, 60)), columns - 1))
    named = [[word, *map(str, row)] for word, row in zip(_words(rng, len(numbers)), numbers,
                                                          strict=True)]  # fmt: skip
    return [_words(rng, columns), *named]


def _separated(rng: Random, by: str) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=by, lineterminator="\n").writerows(_rows(rng))
    return stream.getvalue().encode()


def _object(rng: Random, depth: int = 2) -> dict[str, object]:
    leaf: list[object] = [int(rng.integers(1000)), _words(rng, 3), float(rng.random()), True]
    found: dict[str, object] = {}
    for place, word in enumerate(_words(rng, 5)):
        found[word] = _object(rng, depth - 1) if depth and place < 2 else leaf[place % 4]
    return found


def _json(rng: Random) -> bytes:
    return json.dumps(_object(rng, 3), indent=2).encode()


def _jsonl(rng: Random) -> bytes:
    return "".join(json.dumps(_object(rng, 0)) + "\n" for _ in range(30)).encode()


def _ini(rng: Random) -> bytes:
    parts = (
        f"[{name}]\n" + "".join(f"{w} = {rng.integers(100)}\n" for w in _words(rng, 6))
        for name in _words(rng, 6)
    )
    return "\n".join(parts).encode()


def _yaml(rng: Random) -> bytes:
    parts = (
        f"{name}:\n" + "".join(f"  - {w}: {rng.integers(100)}\n" for w in _words(rng, 5))
        for name in _words(rng, 8)
    )
    return ("---\n" + "".join(parts)).encode()


def _xml(rng: Random) -> bytes:
    rows = "".join(
        f'  <item id="{rng.integers(1000)}"><name>{w}</name><note>{escape(_text(rng, 1))}</note>'
        "</item>\n"
        for w in _words(rng, 20)
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<items>\n{rows}</items>\n'.encode()


def _html(rng: Random) -> bytes:
    body = "".join(f"<h2>{w}</h2>\n<p>{_text(rng, 3)}</p>\n" for w in _words(rng, 8))
    head = f"<head><title>{_words(rng, 1)[0]}</title></head>"
    return f"<!DOCTYPE html>\n<html>\n{head}\n<body>\n{body}</body>\n</html>\n".encode()


def _svg(rng: Random) -> bytes:
    shapes = "".join(
        f'<circle cx="{a}" cy="{b}" r="{c}" fill="#{a:02x}{b:02x}{c:02x}"/>\n'
        for a, b, c in rng.integers(0, 100, (30, 3))
    )
    space = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"'
    return f"<svg {space}>\n{shapes}</svg>\n".encode()


def _sql(rng: Random) -> bytes:
    table, first, second = _words(rng, 3)
    rows = "".join(
        f"INSERT INTO {table} ({first}, {second}x) VALUES ('{w}', {rng.integers(1000)});\n"
        for w in _words(rng, 30)
    )
    made = f"CREATE TABLE {table} ({first} VARCHAR(80) NOT NULL, {second}x INTEGER);\n"
    return (made + rows + f"SELECT {first} FROM {table} WHERE {second}x > 10;\n").encode()


def _zip(rng: Random) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for word in dict.fromkeys(_words(rng, 4)):
            file.writestr(zipfile.ZipInfo(f"{word}.txt"), _text(rng))
    return stream.getvalue()


def _tar(rng: Random) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for word in dict.fromkeys(_words(rng, 4)):
            content, entry = _text(rng).encode(), tarfile.TarInfo(f"{word}.txt")
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _picture(rng: Random, kind: str) -> bytes:
    from PIL import Image

    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    sides = int(rng.integers(40, 120)), int(rng.integers(40, 120))
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(sides, Image.Resampling.BICUBIC).save(stream, kind)
    return stream.getvalue()


def _wav(rng: Random) -> bytes:
    stream = io.BytesIO()
    tone = np.sin(np.arange(8000) * float(rng.uniform(0.05, 0.5))) * 12_000
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(tone.astype("<i2").tobytes())
    return stream.getvalue()


def _npy(rng: Random) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rng.standard_normal((int(rng.integers(5, 40)), 20)).astype(np.float32))
    return stream.getvalue()


def _pickle(rng: Random) -> bytes:
    return pickle.dumps(_object(rng, 3), protocol=4)


def _sqlite(rng: Random) -> bytes:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE notes (word TEXT, number INTEGER)")
        rows = [(word, int(rng.integers(1000))) for word in _words(rng, 40)]
        database.executemany("INSERT INTO notes VALUES (?, ?)", rows)
        database.commit()
        return database.serialize()
    finally:
        database.close()


#: What writes a file, by the type that Magika calls it.
KINDS: Mapping[str, Callable[[Random], bytes]] = {
    "bmp": lambda rng: _picture(rng, "BMP"),
    "bzip": lambda rng: bz2.compress(_text(rng).encode()),
    "csv": lambda rng: _separated(rng, ","),
    "gif": lambda rng: _picture(rng, "GIF"),
    "gzip": lambda rng: gzip.compress(_text(rng).encode(), mtime=0),
    "html": _html,
    "ini": _ini,
    "jpeg": lambda rng: _picture(rng, "JPEG"),
    "json": _json,
    "jsonl": _jsonl,
    "npy": _npy,
    "pickle": _pickle,
    "png": lambda rng: _picture(rng, "PNG"),
    "sql": _sql,
    "sqlite": _sqlite,
    "svg": _svg,
    "tar": _tar,
    "tiff": lambda rng: _picture(rng, "TIFF"),
    "tsv": lambda rng: _separated(rng, "\t"),
    "txt": lambda rng: _text(rng).encode(),
    "wav": _wav,
    "xml": _xml,
    "xz": lambda rng: lzma.compress(_text(rng).encode()),
    "yaml": _yaml,
    "zip": _zip,
}
