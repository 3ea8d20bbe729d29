"""The fingerprint of a source model: its file and the files of its external data."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pimc.errors import ModelError
from pimc.files.memory_map import Buffer, let_go, mapped
from pimc.files.weights.onnx_outline import ITSELF, outline

if TYPE_CHECKING:
    import onnx

__all__ = ["external_files", "file_fingerprint", "fingerprint", "stored_tensors"]

#: Bytes hashed together; more would be in memory for nothing.
_CHUNK_BYTES = 1 << 24


def fingerprint(data: Buffer, files: Mapping[str, Path]) -> str:
    """SHA-256 of the model's bytes, then of each data file, in order of location; as hex.

    Raises:
        ModelError: a data file cannot be read.
    """
    digest, flat = hashlib.sha256(), np.frombuffer(data, np.uint8)
    for start in range(0, len(flat), _CHUNK_BYTES):
        digest.update(flat[start : start + _CHUNK_BYTES].data)
        let_go(flat)
    for location in sorted(files):
        try:
            if not files[location].is_file():  # a device would never end
                raise FileNotFoundError(errno.ENOENT, "no such file")
            with open(files[location], "rb") as stream:
                hashlib.file_digest(stream, lambda: digest)
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}", where=location) from error
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """:func:`fingerprint` of a model file with the data files that it names.

    Raises:
        ModelError: not an ONNX file, or one of the files cannot be read.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

    try:
        data = mapped(path)
        proto = outline(data)
    except (OSError, DecodeError) as error:
        raise ModelError("cannot be read", where=str(path)) from error
    return fingerprint(data, external_files(proto, path.parent))


def external_files(proto: onnx.ModelProto, folder: Path) -> dict[str, Path]:
    """The data files that a model in ``folder`` names, by location."""
    locations = {
        os.fspath(entry.value)
        for tensor in stored_tensors(proto.graph)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {location: folder / location for location in locations - {ITSELF}}


def stored_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers, and tensors that are attributes of nodes, of a graph and of those inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from stored_tensors(inner)
