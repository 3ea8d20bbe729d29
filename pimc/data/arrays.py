"""Arrays in .npz, .npy and IDX files, with no more memory taken than their heads announce.

What is larger than :data:`~pimc.data.rows.HELD_BYTES` stays in its file and is read row by row;
where it is compressed, in a temporary one.
"""

from __future__ import annotations

import gzip
import math
import struct
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pimc.data import rows
from pimc.data.rows import FileRows, Rows, RowWriter
from pimc.files.limits import memory_bytes

__all__ = [
    "idx_array",
    "idx_rows",
    "member_head",
    "npy_array",
    "npz_arrays",
    "npz_names",
    "npz_targets",
    "require_room",
]

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


def require_room(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuse an array that a file announces and memory does not hold.

    Raises:
        ValueError: more than this machine's memory, or a negative length.
    """
    _require(shape, dtype, memory_bytes(), "memory")


def _require(shape: Sequence[int], dtype: np.dtype[Any], most: float, place: str) -> int:
    """The bytes of an array that a head announces, ``most`` at most."""
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {tuple(shape)} that its head announces has a negative length")
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(
            f"the array {tuple(shape)} of {dtype} that its head announces is larger than {place}"
        )
    return size


def npz_arrays(path: Path, names: Collection[str]) -> dict[str, Rows]:
    """Those of the named arrays that a .npz file holds.

    Raises:
        ValueError: not such an archive, or a member is no array, or one of objects; zipfile and
            NumPy raise errors of their own.
    """
    # Opened here: NumPy leaves the file open when it is no archive.
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError("not a .npz archive")
        with zipfile.ZipFile(stream) as archive:
            held = archive.namelist()
            return {name: _member(path, archive, name) for name in names if f"{name}.npy" in held}


def npz_names(path: Path) -> list[str]:
    """Names of the arrays that a .npz file holds.

    Raises:
        ValueError: not such an archive; zipfile raises errors of its own.
    """
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError("not a .npz archive")
        with zipfile.ZipFile(stream) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]


def npz_targets(path: Path, names: Sequence[str], count: int) -> dict[str, Rows]:
    """Those of the named arrays that hold a number or a text for each of ``count`` samples.

    Raises:
        ValueError: as for :func:`npz_arrays`.
    """
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        fitting = [
            name
            for name in names
            if f"{name}.npy" in held and _is_target(archive, f"{name}.npy", count)
        ]
    return npz_arrays(path, fitting)


def _is_target(archive: zipfile.ZipFile, member: str, count: int) -> bool:
    with archive.open(member) as stream:
        try:
            shape, _, dtype = _head(stream, math.inf)
        except ValueError:
            return False  # what nobody asked for may hold what it likes
    return shape[:1] == (count,) and dtype.kind in "biufU"


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Rows:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        shape, fortran, dtype = _head(member, _held(info))
        start = member.tell()
        size = math.prod(shape) * dtype.itemsize
        if size > rows.HELD_BYTES and shape and not fortran:
            if info.compress_type == zipfile.ZIP_STORED:
                _checked(member)
                return FileRows(path.absolute(), _begins(path, info) + start, shape, dtype)
            return _laid_down(member, shape, dtype)
    require_room(shape, dtype)
    with archive.open(info) as member:
        return _array(member)


def member_head(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array of an archive.

    Raises:
        ValueError: no array, or one of objects, or larger than the archive; zipfile raises errors
            of its own.
    """
    info = archive.getinfo(member)
    with archive.open(info) as stream:
        shape, _, dtype = _head(stream, _held(info))
    return shape, dtype


def _held(info: zipfile.ZipInfo) -> int:
    """Bytes that a member holds at most, whatever the archive says."""
    if info.compress_type == zipfile.ZIP_DEFLATED:
        return min(info.file_size, _DEFLATED * info.compress_size)
    return info.file_size


def _checked(member: IO[bytes]) -> None:
    """Read a member to its end, where its checksum is compared."""
    while member.read(rows.CHUNK_BYTES):
        pass


def _begins(path: Path, info: zipfile.ZipInfo) -> int:
    """Where in an archive the bytes of a member begin: behind a head that names it again."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", stream.read(4))
    return info.header_offset + 30 + int(name) + int(extra)


def _laid_down(
    stream: IO[bytes] | gzip.GzipFile, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Rows:
    """What is decompressed of ``stream``, as rows."""
    writer, left = RowWriter(shape[1:], dtype), math.prod(shape) * dtype.itemsize
    while left:
        content = stream.read(min(left, rows.CHUNK_BYTES))
        if not content:
            raise ValueError(f"its bytes do not make the array {shape} its head announces")
        writer.write(content)
        left -= len(content)
    return writer.done()


def _head(stream: Any, held: float) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order (whether Fortran's) and type that the head of an array announces.

    Args:
        held: bytes that the stream can hold at most.

    Raises:
        ValueError: no such head, Python objects, a negative length, or more than the stream holds.
    """
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    with _quiet():
        shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    _require(shape, dtype, held, "what the file holds")
    return shape, fortran, dtype


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
        ValueError: not such a file, or it is shorter than its head announces; NumPy raises errors
            of its own.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        shape, _, dtype = _head(stream, size)
    if size > _MAP_BYTES:
        with _quiet():
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    require_room(shape, dtype)
    with path.open("rb") as stream:
        return _array(stream)


def idx_array(path: Path) -> npt.NDArray[Any]:
    """The array of a gzipped IDX file, of the machine's byte order, in memory.

    Raises:
        ValueError: as for :func:`idx_rows`, or it is larger than memory.
    """
    found = idx_rows(path)
    require_room(found.shape, found.dtype)
    return np.asarray(found[:])


def idx_rows(path: Path) -> Rows:
    """The rows of a gzipped IDX file, of the machine's byte order.

    No more is decompressed than the head announces.

    Raises:
        ValueError: not such a file, or its length does not fit its head; gzip raises OSError,
            EOFError or zlib.error.
    """
    with gzip.open(path) as stream:
        shape, dtype = _idx_head(stream)
        size = _require(shape, dtype, _DEFLATED * path.stat().st_size, "what the file holds")
        if size > rows.HELD_BYTES and shape:
            found = _laid_down(stream, shape, dtype)
            if stream.read(1):
                raise ValueError(f"its bytes do not make the array {shape} its head announces")
            return found
        require_room(shape, dtype)
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
