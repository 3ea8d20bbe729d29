"""Arrays in .npz, .npy and IDX files, with no more memory taken than their heads announce."""

from __future__ import annotations

import gzip
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pimc.files.limits import memory_bytes

__all__ = ["idx_array", "npy_array", "npz_arrays", "npz_names", "require_room"]

_MAP_BYTES = 64 << 20  # larger .npy files are mapped, not read
_DEFLATED = 1032  # bytes that deflate can make of one, as gzip and most archives pack
_IDX_TYPES: Mapping[int, str] = {
    0x08: "u1",
    0x09: "i1",
    0x0B: ">i2",
    0x0C: ">i4",
    0x0D: ">f4",
    0x0E: ">f8",
}


def require_room(shape: Sequence[int], dtype: np.dtype[Any], held: float = math.inf) -> int:
    """Bytes of an array that a file announces.

    Args:
        held: bytes that the file can hold at most.

    Raises:
        ValueError: more than this machine's memory or than the file holds, or a negative length.
    """
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {tuple(shape)} that its head announces has a negative length")
    size = math.prod(shape) * dtype.itemsize
    announced = f"the array {tuple(shape)} of {dtype} that its head announces is larger than"
    if size > memory_bytes():
        raise ValueError(f"{announced} memory")
    if size > held:
        raise ValueError(f"{announced} what the file holds")
    return size


def npz_arrays(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of the named arrays that a .npz file holds.

    Raises:
        ValueError: not such an archive, or a member is no array or larger than memory; zipfile
            and NumPy raise errors of their own.
    """
    # Opened here: NumPy leaves the file open when it is no archive.
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError("not a .npz archive")
        with zipfile.ZipFile(stream) as archive:
            held = archive.namelist()
            return {name: _member(archive, name) for name in names if f"{name}.npy" in held}


def npz_names(path: Path) -> list[str]:
    """Names of the arrays that a .npz file holds."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _member(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    held = info.file_size
    if info.compress_type == zipfile.ZIP_DEFLATED:
        held = min(held, _DEFLATED * info.compress_size)
    with archive.open(info) as member:
        _head(member, held)
    with archive.open(info) as member:
        return _array(member)


def _head(stream: Any, held: int) -> None:
    """Check what the head of an array announces.

    Args:
        held: bytes that the stream can hold at most.

    Raises:
        ValueError: no such head, Python objects, or more than memory or the stream holds.
    """
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    with _quiet():
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    require_room(shape, dtype, held)


def _array(stream: Any) -> npt.NDArray[Any]:
    """The array of a stream whose head was checked."""
    with _quiet():
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


@contextmanager
def _quiet() -> Iterator[None]:
    """NumPy tells of heads as Python 2 wrote them, and Python of what it parses in them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def npy_array(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file; a large one is mapped.

    Raises:
        ValueError: not such a file, or larger than memory; NumPy raises errors of its own.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        _head(stream, size)
    if size > _MAP_BYTES:
        with _quiet():
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    with path.open("rb") as stream:
        return _array(stream)


def idx_array(path: Path) -> npt.NDArray[Any]:
    """The array of a gzipped IDX file, of the machine's byte order.

    No more is decompressed than the head announces.

    Raises:
        ValueError: not such a file, its length does not fit its head, or it is larger than
            memory; gzip raises OSError, EOFError or zlib.error.
    """
    with gzip.open(path) as stream:
        shape, dtype = _idx_head(stream)
        size = require_room(shape, dtype, _DEFLATED * path.stat().st_size)
        content = stream.read(size)
        if len(content) < size or stream.read(1):
            raise ValueError(f"its bytes do not make the array {shape} its head announces")
    array = np.frombuffer(content, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _idx_head(stream: BinaryIO | gzip.GzipFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
        raise ValueError("not an IDX file")
    lengths = stream.read(4 * head[3])
    if len(lengths) != 4 * head[3]:
        raise ValueError("not an IDX file: its head is cut")
    shape = tuple(np.frombuffer(lengths, dtype=">u4").tolist())
    return shape, np.dtype(_IDX_TYPES[head[2]])
