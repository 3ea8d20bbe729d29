"""Data files of every format, small, for tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pimc.data.dataset import load_data
from pimc.errors import DataError

IMAGES = np.arange(5 * 3 * 4 * 6, dtype=np.uint8).reshape(5, 3, 4, 6)
LABELS = np.array([0, 1, 2, 1, 0], dtype=np.uint8)


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def mnist_folder(folder: Path, prefix: str = "train") -> Path:
    path = folder / f"{prefix}-images-idx3-ubyte.gz"
    path.write_bytes(idx_bytes(IMAGES[:, 0]))
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx_bytes(LABELS))
    return path


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **(arrays or {"x": IMAGES, "y": LABELS}))
    return path


def image(path: Path, array: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.asarray(array)).save(path)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(path, **options)
    assert caught.value.where
    return str(caught.value)
