"""Values of samples, one row a sample: in memory, in a file, or made when they are asked for.

What is small is an array in memory. What is larger is read row by row when it is needed, by plain
reads of a file: memory holds no more of it than the rows that are being looked at.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError
from pimc.files.writing.atomic import little_endian, sha256_of

__all__ = [
    "HELD_BYTES",
    "FileRows",
    "LazyRows",
    "RowWriter",
    "Rows",
    "chunks",
    "constant",
    "flattened",
    "picked",
    "repeated",
    "sha256_rows",
]

#: Values up to this size are kept in memory, all at once.
HELD_BYTES = 256 << 20
#: Bytes that are looked at together where all rows are gone through.
CHUNK_BYTES = 16 << 20


class Rows(Protocol):
    """What values of samples have, arrays among them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples first."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:
        """The rows of a slice, or at places, as an array."""
        ...


class LazyRows(ABC):
    """Rows that are read, or made, when they are asked for."""

    if TYPE_CHECKING:  # in a running class a dataclass would take them for defaults of its fields

        @property
        def shape(self) -> tuple[int, ...]:
            """Samples first."""
            ...

        @property
        def dtype(self) -> np.dtype[Any]:
            """Type of a value."""
            ...

    @abstractmethod
    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows at ``places``, in their order."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        whole = key is Ellipsis or isinstance(key, slice)
        places = np.arange(len(self))[key] if whole else np.asarray(key)
        return self.rows(places.astype(np.int64))


@dataclass(frozen=True, eq=False)
class FileRows(LazyRows):
    """Rows that lie one after the other in a file.

    Attributes:
        path: the file; another process on this machine finds it there, too.
        offset: bytes before the first row.
        keeper: what the file is there for as long as it is.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    keeper: object = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return FileRows, (self.path.absolute(), self.offset, self.shape, self.dtype)

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows at ``places``; neighbours are read together.

        Raises:
            DataError: the file cannot be read, or is shorter than it was.
        """
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        if not len(places):
            return found
        size = found.itemsize * math.prod(self.shape[1:])
        raw = found.reshape(-1).view(np.uint8)
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        ends = [*starts[1:].tolist(), len(places)]
        try:
            with self.path.open("rb") as stream:
                for start, end in zip(starts.tolist(), ends, strict=True):
                    stream.seek(self.offset + int(places[start]) * size)
                    if stream.readinto(raw[start * size : end * size].data) < (end - start) * size:
                        raise DataError("is shorter than it was", str(self.path), "read it anew")
        except OSError as cause:
            raise DataError(f"cannot be read: {cause.strerror or cause}", str(self.path)) from cause
        return found


@dataclass(frozen=True, eq=False)
class _Picked(LazyRows):
    """Some rows of others."""

    of: Rows
    places: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples first."""
        return (len(self.places), *self.of.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.of.dtype

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows at ``places`` among those picked."""
        return np.asarray(self.of[self.places[places]])


def picked(rows: Rows, places: npt.NDArray[np.int64]) -> Rows:
    """The rows at ``places``: a copy of what is in memory, else to be read when asked for."""
    if isinstance(rows, _Picked):
        return _Picked(rows.of, rows.places[places])
    if isinstance(rows, LazyRows | np.memmap):
        return _Picked(rows, places)
    found: Rows = rows[places]
    return found


@dataclass(frozen=True, eq=False)
class _Constant(LazyRows):
    """The same row again and again."""

    row: npt.NDArray[Any]
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples first."""
        return (self.count, *self.row.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.row.dtype

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """As many as there are places."""
        return np.repeat(self.row[None], len(places), axis=0)


@dataclass(frozen=True, eq=False)
class _Flattened(LazyRows):
    """The entries of rows, one after the other."""

    of: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Entries of all rows first."""
        count, steps, *rest = self.of.shape
        return (count * steps, *rest)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.of.dtype

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The entries at ``places``; each row that holds some is read once."""
        row, entry = np.divmod(places, self.of.shape[1])
        needed, where = np.unique(row, return_inverse=True)
        found: npt.NDArray[Any] = np.asarray(self.of[needed])[where, entry]
        return found


def constant(row: npt.NDArray[Any], count: int) -> Rows:
    """The same row ``count`` times."""
    return _Constant(row, count)


def repeated(rows: Rows, times: int) -> Rows:
    """Every row so many times, one after the other; nothing is copied."""
    return rows if times == 1 else _Picked(rows, np.repeat(np.arange(len(rows)), times))


def flattened(rows: Rows) -> Rows:
    """(rows · entries, …) the entries of each row, (rows, entries, …), as rows of their own."""
    shape = (rows.shape[0] * rows.shape[1], *rows.shape[2:])
    if isinstance(rows, FileRows):
        return replace(rows, shape=shape)
    if isinstance(rows, np.ndarray) and not isinstance(rows, np.memmap):
        return rows.reshape(shape)
    return _Flattened(rows)


def chunks(rows: Rows, chunk_bytes: int | None = None) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """All rows, some at a time, with the place of the first."""
    size = max(1, rows.dtype.itemsize * math.prod(rows.shape[1:]))
    step = max(1, (chunk_bytes or CHUNK_BYTES) // size)
    for start in range(0, len(rows), step):
        yield start, np.asarray(rows[start : start + step])


def sha256_rows(rows: Rows) -> str:
    """SHA-256 of rows: that of the array that holds them all (``sha256_array``)."""
    digest = sha256_of(rows.dtype, rows.shape)
    for _, values in chunks(rows if rows.shape else np.asarray(rows).reshape(1)):
        digest.update(little_endian(values.reshape(-1)).data)
    return digest.hexdigest()


class RowWriter:
    """Takes rows one after the other; what grows beyond :data:`HELD_BYTES` goes to a file.

    The file is a temporary one, and is removed with the rows that lie in it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = shape, dtype
        self._kept = bytearray()
        self._file: _Temporary | None = None
        self._size = 0

    def write(self, content: bytes | memoryview) -> None:
        """Take the bytes that come next, whole rows or not.

        Raises:
            DataError: there is no room for the file.
        """
        self._size += len(content)
        if self._size <= HELD_BYTES:
            self._kept += content
            return
        try:
            if self._file is None:
                self._file = _Temporary()
                self._file.stream.write(self._kept)
                self._kept = bytearray()
            self._file.stream.write(content)
        except OSError as cause:
            raise DataError(
                f"the data are larger than {HELD_BYTES >> 20} MiB and cannot be laid down in a "
                f"temporary file: {cause.strerror or cause}",
                tempfile.gettempdir(),
                "name a folder with more room in the variable TMPDIR",
            ) from cause

    def done(self) -> Rows:
        """The rows that were taken.

        Raises:
            ValueError: what was taken is no whole number of rows.
        """
        count, left = divmod(self._size, max(self._dtype.itemsize * math.prod(self._shape), 1))
        if left:
            raise ValueError("it ends within a sample")
        shape = (count, *self._shape)
        if self._file is None:
            return np.frombuffer(self._kept, self._dtype).reshape(shape)
        self._file.stream.close()
        return FileRows(Path(self._file.stream.name), 0, shape, self._dtype, self._file)


class _Temporary:
    """A file that is there as long as this object, and no longer than the process."""

    def __init__(self) -> None:
        # Not closed by a `with`: rows are written to it for as long as this object lives.
        self.stream = tempfile.NamedTemporaryFile(prefix="pimc-data-", delete=False)  # noqa: SIM115
        weakref.finalize(self, _removed, self.stream.name)


def _removed(name: str) -> None:
    Path(name).unlink(missing_ok=True)
