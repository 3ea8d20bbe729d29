"""Marks by which files are told apart: first bytes, members of archives, keys of texts.

Every mark looks at little of a file and changes nothing. What a damaged file makes it raise means
that the mark is not there (:func:`there`).
"""

from __future__ import annotations

import json
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pimc.files.memory_map import mapped
from pimc.files.weights.onnx_outline import looks_like_model

__all__ = [
    "File",
    "Mark",
    "any_of",
    "begins",
    "container",
    "csv_of",
    "flatbuffer",
    "idx",
    "journal",
    "json_with",
    "legacy_pickle",
    "members",
    "npz",
    "onnx",
    "saved_model",
    "there",
    "toml_with",
    "weights",
]

#: Bytes of a text that is looked into; a longer one is none of ours.
_TEXT_BYTES = 1 << 24
#: Longest head that safetensors takes.
_HEAD_BYTES = 100_000_000
#: With what PyTorch's first format begins: a pickled number of its own.
_TORCH_NUMBER = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class File:
    """A file or folder that is looked at; each part of it is read once."""

    path: Path

    @cached_property
    def start(self) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as stream:
            return stream.read(1024)

    @cached_property
    def text(self) -> str:
        """All of it, where that is text and not long; else ValueError."""
        with self.path.open("rb") as stream:
            content = stream.read(_TEXT_BYTES + 1)
        if len(content) > _TEXT_BYTES:
            raise ValueError("too long")
        return content.decode("utf-8")

    @cached_property
    def members(self) -> list[str]:
        """Names in a zip archive."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.namelist()

    @cached_property
    def safetensors(self) -> dict[str, Any]:
        """The head of a safetensors file; else ValueError."""
        with self.path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(_HEAD_BYTES, self.path.stat().st_size - 8):
                raise ValueError("no safetensors file")
            head = json.loads(stream.read(length))
        entries = [entry for name, entry in head.items() if name != "__metadata__"]
        if not all("dtype" in entry for entry in entries):
            raise ValueError("no safetensors file")
        found: dict[str, Any] = head
        return found


#: Whether a file is of a kind.
Mark = Callable[[File], bool]


def any_of(*marks: Mark) -> Mark:
    """One of several marks; one that cannot be looked for is not there."""
    return lambda file: any(there(mark, file) for mark in marks)


def there(mark: Mark, file: File) -> bool:
    """Whether a file bears a mark."""
    try:
        return mark(file)
    except Exception:  # whatever a parser of any bytes ends with: the mark is not there
        return False


def begins(*starts: bytes) -> Mark:
    """The first bytes are one of these."""
    return lambda file: file.start.startswith(starts)


def flatbuffer(identifier: bytes) -> Mark:
    """A FlatBuffers file with this identifier, which stands behind the first offset."""
    return lambda file: file.start[4:8] == identifier


def container(fmt: str) -> Mark:
    """One of pimc's own files, of this format."""

    def fits(file: File) -> bool:
        return bool(json.loads(_metadata(file)["manifest"])["format"] == fmt)

    return fits


def weights(file: File) -> bool:
    """A safetensors file of somebody else."""
    return "manifest" not in _metadata(file)


def _metadata(file: File) -> dict[str, Any]:
    found: dict[str, Any] = file.safetensors.get("__metadata__", {})
    return found


def members(*endings: str) -> Mark:
    """A zip archive with members whose names end so, one for each."""

    def fits(file: File) -> bool:
        return all(any(name.endswith(end) for name in file.members) for end in endings)

    return fits


def npz(file: File) -> bool:
    """A zip archive of arrays and nothing else."""
    return bool(file.members) and all(name.endswith(".npy") for name in file.members)


def idx(file: File) -> bool:
    """A gzipped IDX file."""
    head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(file.start, 4)
    return head[:2] == b"\0\0" and head[2] in b"\x08\x09\x0b\x0c\x0d\x0e"


def legacy_pickle(file: File) -> bool:
    """PyTorch's format before it was a zip archive."""
    return file.start.startswith(_TORCH_NUMBER)


def onnx(file: File) -> bool:
    """A message with the fields of ONNX's models, whole."""
    return looks_like_model(mapped(file.path))


def saved_model(file: File) -> bool:
    """A folder that TensorFlow saved a model in."""
    return (file.path / "saved_model.pb").is_file()


def toml_with(*keys: str) -> Mark:
    """TOML with one of these keys at its top."""
    return lambda file: not tomllib.loads(file.text).keys().isdisjoint(keys)


def json_with(*keys: str) -> Mark:
    """A JSON object with all of these keys."""

    def fits(file: File) -> bool:
        found = json.loads(file.text)
        return isinstance(found, dict) and found.keys() >= set(keys)

    return fits


def journal(file: File) -> bool:
    """JSON by lines, of which the first names an image and a device."""
    first = json.loads(file.text.splitlines()[0])
    return isinstance(first, dict) and first.keys() == {"image", "device"}


def csv_of(*columns: str) -> Mark:
    """Comma-separated values, with these among the columns of the first line."""

    def fits(file: File) -> bool:
        named = {cell.strip() for cell in file.text.split("\n", 1)[0].split(",")}
        return named >= set(columns)

    return fits
