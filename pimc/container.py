"""The file container that images, dies and captures share.

One safetensors file with one metadata key, ``manifest``: canonical JSON that holds the
format's name and version, a SHA-256 for every tensor and one for the manifest itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from pimc.errors import PimcError
from pimc.files import replacing, sha256_array

Tensor = npt.NDArray[Any]
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
        "tensors": {name: sha256_array(value) for name, value in contiguous.items()},
    }
    full["sha256"] = _digest(full)
    return json.loads(canonical_json(full)), contiguous


def to_bytes(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The file's bytes; equal content gives equal bytes."""
    # safetensors keeps the bytes stable only while there is a single metadata key.
    return safetensors_bytes(dict(tensors), metadata={"manifest": canonical_json(manifest)})


def save(path: str | Path, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the file, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    data = to_bytes(manifest, tensors)
    with replacing(path) as stream:
        stream.write(data)


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
    for name, value in tensors.items():
        if sha256_array(value) != manifest["tensors"][name]:
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
