"""The file container that images, dies and captures share.

One safetensors file with one metadata key, ``manifest``: canonical JSON that holds the
format's name and version, a SHA-256 for every tensor and one for the manifest itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from pimc.errors import PimcError
from pimc.files.memory_map import let_go
from pimc.files.tensor_file import Content, Deferred, Tensor, file_order, header, tensors_in
from pimc.files.writing.atomic import (
    little_endian,
    replacing,
    sha256_array,
    sha256_of,
)

__all__ = [
    "Content",
    "Deferred",
    "Manifest",
    "Tensor",
    "canonical_json",
    "digests",
    "load",
    "save",
    "seal",
    "stream",
    "to_bytes",
]

#: Parts of tensors that wait to be written while the next ones are worked out.
_WAITING = 3
#: Bytes after which the disk is made to begin, so that it need not do all at the end.
_SYNCED_BYTES = 1 << 26
#: A hash of the same length as every other.
_NO_HASH = "0" * 64
Manifest = dict[str, Any]
#: How a file ends that is no container: the library's reading, JSON's, ours.
_MALFORMED = (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError)


def canonical_json(value: Any) -> str:
    """Sorted, compact JSON: the same value gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(
    fmt: str,
    version: int,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    known: Mapping[str, str] | None = None,
) -> tuple[Manifest, dict[str, Tensor]]:
    """Complete a manifest with format, version and hashes; tensors come back contiguous.

    Args:
        known: hashes of tensors that need not be worked out.
    """
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    hashes = {name: digest for name, digest in (known or {}).items() if name in contiguous}
    new = [name for name in contiguous if name not in hashes]
    hashes |= zip(new, digests(contiguous[name] for name in new), strict=True)
    return _complete(fmt, version, manifest, hashes), contiguous


def _complete(
    fmt: str, version: int, manifest: Mapping[str, Any], hashes: Mapping[str, str]
) -> Manifest:
    full = {key: value for key, value in manifest.items() if key != "sha256"}
    full |= {"format": fmt, "version": version, "tensors": dict(hashes)}
    full["sha256"] = _digest(full)
    complete: Manifest = json.loads(canonical_json(full))
    return complete


def digests(tensors: Iterable[Tensor]) -> list[str]:
    """SHA-256 of every tensor, as a manifest has them."""
    # Hashing lets go of the interpreter.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(sha256_array, tensors))


def to_bytes(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The file's bytes; equal content gives equal bytes."""
    order = file_order(tensors)
    contents = [little_endian(tensors[name]).data for name in order]
    return b"".join([header(canonical_json(manifest), tensors, order), *contents])


def save(path: str | Path, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the file, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    order = file_order(tensors)
    with replacing(path) as stream:
        stream.write(header(canonical_json(manifest), tensors, order))
        for name in order:
            stream.write(little_endian(tensors[name]).data)


def stream(
    path: str | Path,
    fmt: str,
    version: int,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, Content],
) -> tuple[Manifest, dict[str, Tensor]]:
    """Seal and write a file part by part, whole or not at all; the tensors come back mapped.

    Hashes stand before what they are of, but are all of the same length: they are filled in at
    the end.

    Raises:
        UsageError: the file cannot be written.
    """
    order = file_order(tensors)
    draft = _complete(fmt, version, manifest, dict.fromkeys(tensors, _NO_HASH))
    with replacing(path) as file:
        file.write(header(canonical_json(draft), tensors, order))
        with _Writer(file) as writer:
            hashes = {name: writer.write(tensors[name]) for name in order}
        sealed = _complete(fmt, version, manifest, hashes)
        file.seek(0)
        file.write(header(canonical_json(sealed), tensors, order))
    return sealed, tensors_in(path)


class _Writer:
    """Hashes and writes in a thread of its own, while the next parts are worked out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[Future[None]] = deque()
        self._unsynced = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def write(self, tensor: Content) -> str:
        """Write a tensor; returns its hash."""
        digest = sha256_of(tensor.dtype, tensor.shape)
        for part in tensor.parts() if isinstance(tensor, Deferred) else [tensor]:
            if len(self._waiting) == _WAITING:
                self._waiting.popleft().result()
            self._waiting.append(self._thread.submit(self._take, digest, part))
        while self._waiting:
            self._waiting.popleft().result()
        return digest.hexdigest()

    def _take(self, digest: hashlib._Hash, part: Tensor) -> None:
        data = little_endian(part).data
        digest.update(data)
        self._file.write(data)
        self._unsynced += part.nbytes
        if self._unsynced >= _SYNCED_BYTES:
            self._unsynced = 0
            self._file.flush()
            os.fsync(self._file.fileno())


def load(
    path: str | Path, fmt: str, version: int, error: type[PimcError], *, in_place: bool = False
) -> tuple[Manifest, dict[str, Tensor]]:
    """Read a file and verify every hash in its manifest.

    Args:
        in_place: leave the tensors where they lie, and read what is looked at.

    Raises:
        error: the file is missing, of another kind or a newer version, damaged or altered.
    """
    where = str(path)
    again = "copy or write the file again"
    if not Path(path).is_file():
        what = "no such file" + ": this is a folder" * Path(path).is_dir()
        raise error(what, where=where, hint="name an existing file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})["manifest"]
            manifest = json.loads(text)
            _check_header(manifest, fmt, version, error, where)
            # The text itself, too: 1e5 and 1E5 are the same number, not the same file.
            intact = text == canonical_json(manifest) and _digest(manifest) == manifest["sha256"]
            _check_text(manifest)
            hashes = _hashes_of(manifest)
            complete = sorted(file.keys()) == sorted(hashes)
            names = [] if in_place else sorted(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        if in_place:
            tensors = tensors_in(path)
    except _MALFORMED as cause:
        message = f"not a {fmt} file, or truncated or damaged"
        raise error(message, where=where, hint=again) from cause
    if not intact or not complete:
        raise error("the manifest was altered", where=where, hint=again)
    for name, digest in zip(tensors, digests(tensors.values()), strict=True):
        let_go(tensors[name])
        if digest != hashes[name]:
            raise error(f"tensor {name} was altered", where=where, hint=again)
    return manifest, tensors


def _check_header(
    manifest: Mapping[str, Any], fmt: str, version: int, error: type[PimcError], where: str
) -> None:
    kind, found = manifest["format"], manifest["version"]
    if kind != fmt:
        raise error(f"this is a {kind} file, not a {fmt} file", where=where)
    if type(found) is not int:
        raise error(f"version: must be a whole number, not {found!r}", where=where)
    if found > version:
        raise error(
            f"format version {found} is newer than this pimc reads ({version})",
            where=where,
            hint="install a newer pimc",
        )


def _check_text(manifest: Manifest) -> None:
    """Make sure that all strings are text, which halves of surrogate pairs are not.

    Raises:
        UnicodeEncodeError: one is not.
    """
    json.dumps(manifest, ensure_ascii=False).encode()


def _hashes_of(manifest: Manifest) -> Mapping[str, str]:
    """The hash of every tensor.

    Raises:
        TypeError: the manifest has no table of them.
    """
    hashes = manifest["tensors"]
    if not isinstance(hashes, dict) or not all(isinstance(h, str) for h in hashes.values()):
        raise TypeError("tensors: no table of hashes")
    return hashes


def _digest(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
