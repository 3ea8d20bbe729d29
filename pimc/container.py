"""The file container that images, dies and captures share.

One safetensors file with one metadata key, ``manifest``: canonical JSON that holds the
format's name and version, a SHA-256 for every tensor and one for the manifest itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from pimc.errors import PimcError
from pimc.files import replacing, sha256_array

Tensor = npt.NDArray[Any]

#: What the format calls NumPy's types, and the library's rank of each.
_TYPES = {
    "|b1": ("BOOL", 0), "|u1": ("U8", 4), "|i1": ("I8", 5), "<i2": ("I16", 11), "<u2": ("U16", 12),
    "<f2": ("F16", 13), "<i4": ("I32", 15), "<u4": ("U32", 16), "<f4": ("F32", 17),
    "<f8": ("F64", 19), "<i8": ("I64", 20), "<u8": ("U64", 21),
}  # fmt: skip
_RANKS = {name: rank for name, (_, rank) in _TYPES.items()}
Manifest = dict[str, Any]


def canonical_json(value: Any) -> str:
    """Sorted, compact JSON: the same value gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(
    fmt: str, version: int, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[Manifest, dict[str, Tensor]]:
    """Complete a manifest with format, version and hashes; tensors come back contiguous."""
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    full = {key: value for key, value in manifest.items() if key != "sha256"}
    full |= {
        "format": fmt,
        "version": version,
        "tensors": dict(zip(contiguous, _hashes(contiguous.values()), strict=True)),
    }
    full["sha256"] = _digest(full)
    return json.loads(canonical_json(full)), contiguous


def _hashes(tensors: Iterable[Tensor]) -> list[str]:
    # Hashing lets go of the interpreter.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(sha256_array, tensors))


def to_bytes(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The file's bytes; equal content gives equal bytes."""
    order = _file_order(tensors)
    contents = [_content(tensors[name]).data for name in order]
    return b"".join([_head(manifest, tensors, order), *contents])


def _file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names in the order of the file, which is that of the safetensors library.

    Wide types come first, so that all data are aligned; equal ones go by name.
    """
    return sorted(tensors, key=lambda name: (-_RANKS[tensors[name].dtype.str], name))


def _head(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor], order: list[str]) -> bytes:
    """Length of the header, and the header: JSON, filled up with spaces to eight bytes.

    The whole file need not be in memory for it, as it does for the library's own function.
    """
    header: dict[str, Any] = {"__metadata__": {"manifest": canonical_json(manifest)}}
    start = 0
    for name in order:
        value = tensors[name]
        end = start + value.nbytes
        header[name] = {
            "dtype": _TYPES[value.dtype.str][0],
            "shape": list(value.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _content(tensor: Tensor) -> npt.NDArray[np.uint8]:
    little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


def save(path: str | Path, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the file, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    order = _file_order(tensors)
    with replacing(path) as stream:
        stream.write(_head(manifest, tensors, order))
        for name in order:
            stream.write(_content(tensors[name]).data)


def load(
    path: str | Path, fmt: str, version: int, error: type[PimcError]
) -> tuple[Manifest, dict[str, Tensor]]:
    """Read a file and verify every hash in its manifest.

    Raises:
        error: the file is missing, of another kind or a newer version, damaged or altered.
    """
    where = str(path)
    again = "copy or write the file again"
    if not Path(path).is_file():
        raise error("no such file", where=where, hint="name an existing file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})["manifest"]
            manifest = json.loads(text)
            _check_header(manifest, fmt, version, error, where)
            # The text itself, too: 1e5 and 1E5 are the same number, not the same file.
            intact = text == canonical_json(manifest) and _digest(manifest) == manifest["sha256"]
            complete = sorted(file.keys()) == sorted(manifest["tensors"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as cause:
        message = f"not a {fmt} file, or truncated or damaged"
        raise error(message, where=where, hint=again) from cause
    if not intact or not complete:
        raise error("the manifest was altered", where=where, hint=again)
    for name, digest in zip(tensors, _hashes(tensors.values()), strict=True):
        if digest != manifest["tensors"][name]:
            raise error(f"tensor {name} was altered", where=where, hint=again)
    return manifest, tensors


def _check_header(
    manifest: Mapping[str, Any], fmt: str, version: int, error: type[PimcError], where: str
) -> None:
    kind, found = manifest["format"], manifest["version"]
    if kind != fmt:
        raise error(f"this is a {kind} file, not a {fmt} file", where=where)
    if found > version:
        raise error(
            f"format version {found} is newer than this pimc reads ({version})",
            where=where,
            hint="install a newer pimc",
        )


def _digest(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
