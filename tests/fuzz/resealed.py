"""Containers whose content was changed and whose hashes were computed anew.

So would a program get them wrong that writes these formats by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from pimc.files.tensor_file import file_order, header
from pimc.files.writing.atomic import little_endian, sha256_array
from tests.fuzz.values import array_changed, changed, text_of

__all__ = ["parts", "resealed", "sealed", "with_other_header"]

Tensors = Mapping[str, np.ndarray[Any, Any]]
_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4",
    "U32": "<u4", "F32": "<f4", "F64": "<f8", "I64": "<i8", "U64": "<u8",
}  # fmt: skip


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Manifest and tensors of a sound file."""
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    manifest = json.loads(entries.pop("__metadata__")["manifest"])
    tensors = {}
    for name, entry in entries.items():
        first, last = (start + place for place in entry["data_offsets"])
        flat = np.frombuffer(data[first:last], _TYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return manifest, tensors


def sealed(manifest: Mapping[str, Any], tensors: Tensors) -> bytes:
    """A file whose hashes fit, whatever the manifest holds; also what no JSON may."""
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    body["tensors"] = {name: sha256_array(tensors[name]) for name in tensors}
    digest = hashlib.sha256(_text(body).encode()).hexdigest()
    text = _text({**body, "sha256": digest})
    order = file_order(tensors)
    contents = [little_endian(tensors[name]).data for name in order]
    return b"".join([header(text, tensors, order), *contents])


def _text(value: Any) -> str:
    return text_of(json.dumps(value, sort_keys=True, separators=(",", ":")))


def resealed(rng: Random, data: bytes) -> bytes:
    """``data`` with other values in its manifest, other tensors, or both."""
    manifest, tensors = parts(data)
    kind = rng.random()
    if kind < 0.5:
        kept = {key: manifest.pop(key) for key in ("format", "version", "tensors", "sha256")}
        manifest = {**kept, **_object(changed(rng, manifest))}
    if kind > 0.4:
        tensors = _tensors_changed(rng, tensors)
    return sealed(manifest, tensors)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _tensors_changed(rng: Random, tensors: dict[str, Any]) -> dict[str, Any]:
    changed_tensors = dict(tensors)
    for _ in range(rng.choice((1, 1, 2))):
        names = sorted(changed_tensors)
        if not names:
            break
        name, other = rng.choice(names), rng.choice(names)
        act = rng.random()
        if act < 0.75:
            changed_tensors[name] = array_changed(rng, changed_tensors[name])
        elif act < 0.83:
            del changed_tensors[name]
        elif act < 0.9:
            changed_tensors[name], changed_tensors[other] = (
                changed_tensors[other], changed_tensors[name],
            )  # fmt: skip
        elif act < 0.95:
            changed_tensors[f"{name}x"] = changed_tensors.pop(name)
        else:
            changed_tensors[rng.choice(("extra", "layer.0099.gain", "a/b", ""))] = np.ones(3)
    return changed_tensors


def with_other_header(rng: Random, data: bytes) -> bytes:
    """``data`` with values of the header changed that no hash covers."""
    start = 8 + int.from_bytes(data[:8], "little")
    entries = changed(rng, json.loads(data[8:start]))
    text = text_of(json.dumps(entries, separators=(",", ":"))).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]
