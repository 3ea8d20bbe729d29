"""Reading Fashion-MNIST as published, choosing a sample, packing it for ``pimc``."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pimc.data.arrays import idx_array
from pimc.errors import DataError

Bytes = NDArray[np.uint8]

CLASSES = 10
SIDE = 28
DATA_HINT = (
    "install the Debian package dataset-fashion-mnist, or put the four *-ubyte.gz files of "
    "https://github.com/zalandoresearch/fashion-mnist into a folder and name it with --data"
)


@dataclass(frozen=True)
class Labelled:
    """Images ``x`` uint8 (N, 1, 28, 28) and labels ``y`` uint8 (N,)."""

    x: Bytes
    y: Bytes = field(repr=False)

    def take(self, index: NDArray[np.intp]) -> Labelled:
        """The images at ``index``, in that order."""
        return Labelled(self.x[index], self.y[index])


def read_idx(path: Path, ndim: int) -> Bytes:
    """A gzipped IDX file of unsigned bytes with ``ndim`` axes.

    Raises:
        DataError: the file is missing, cut short or not of that kind.
    """
    try:
        array = idx_array(path)
    except FileNotFoundError as error:
        raise DataError("no such Fashion-MNIST file", str(path), DATA_HINT) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", str(path), DATA_HINT) from error
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise DataError(f"not an IDX file of bytes with {ndim} axes", str(path), DATA_HINT)
    return array


def read_split(folder: Path, prefix: str) -> Labelled:
    """The ``train`` or ``t10k`` split from its two IDX files in ``folder``.

    Raises:
        DataError: a file is missing or damaged, or images and labels do not match.
    """
    x = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
    y = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
    if x.shape != (y.size, SIDE, SIDE) or y.max(initial=0) >= CLASSES:
        raise DataError(
            f"images {x.shape} and {y.size} labels do not match", str(folder), DATA_HINT
        )
    return Labelled(x[:, None], y)


def balanced(y: Bytes, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Sorted positions of ``count`` items, the same number of each class, drawn by ``rng``.

    Raises:
        DataError: a class has too few items, or ``count`` is no positive multiple of the classes.
    """
    each, rest = divmod(count, CLASSES)
    if count <= 0 or rest or np.bincount(y, minlength=CLASSES).min() < each:
        raise DataError(f"cannot draw {count} images evenly over {CLASSES} classes")
    drawn = [rng.permutation(np.flatnonzero(y == label))[:each] for label in range(CLASSES)]
    return np.sort(np.concatenate(drawn))


def npz(data: Labelled) -> bytes:
    """``data`` as a compressed NumPy archive without dates: same arrays, same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in (("x", data.x), ("y", data.y)):
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
