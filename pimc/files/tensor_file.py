"""Tensors as they lie in a safetensors file: header, order, and parts that are made on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.files.memory_map import mapped

__all__ = ["Content", "Deferred", "Tensor", "file_order", "header", "tensors_in"]

Tensor = npt.NDArray[Any]

#: What the format calls NumPy's types, and the library's rank of each.
_TYPES = {
    "|b1": ("BOOL", 0), "|u1": ("U8", 4), "|i1": ("I8", 5), "<i2": ("I16", 11), "<u2": ("U16", 12),
    "<f2": ("F16", 13), "<i4": ("I32", 15), "<u4": ("U32", 16), "<f4": ("F32", 17),
    "<f8": ("F64", 19), "<i8": ("I64", 20), "<u8": ("U64", 21),
}  # fmt: skip
_RANKS = {name: rank for name, (_, rank) in _TYPES.items()}
_NUMPY_TYPES = {stored: np.dtype(name) for name, (stored, _) in _TYPES.items()}


@dataclass(frozen=True)
class Deferred:
    """A tensor that is worked out part by part while it is written.

    Attributes:
        parts: makes the parts, whose entries follow each other as in the file.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[Tensor]] = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self) -> Tensor:
        """All of it in memory."""
        whole, start = np.empty(math.prod(self.shape), self.dtype), 0
        for part in self.parts():
            whole[start : start + part.size] = part.reshape(-1)
            start += part.size
        return whole.reshape(self.shape)


Content = Tensor | Deferred


def file_order(tensors: Mapping[str, Content]) -> list[str]:
    """Names in the order of the file, which is that of the safetensors library.

    Wide types come first, so that all data are aligned; equal ones go by name.
    """
    return sorted(tensors, key=lambda name: (-_RANKS[tensors[name].dtype.str], name))


def header(metadata: str, tensors: Mapping[str, Content], order: list[str]) -> bytes:
    """Length of the header, and the header: JSON, filled up with spaces to eight bytes.

    The whole file need not be in memory for it, as it does for the library's own function.

    Args:
        metadata: what stands under the key ``manifest``.
    """
    entries: dict[str, Any] = {"__metadata__": {"manifest": metadata}}
    start = 0
    for name in order:
        value = tensors[name]
        end = start + value.nbytes
        entries[name] = {
            "dtype": _TYPES[value.dtype.str][0],
            "shape": list(value.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensors_in(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a sound file, read when they are looked at."""
    data = mapped(path)
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(bytes(data[8:start]))
    del entries["__metadata__"]
    return {
        name: np.frombuffer(
            data,
            _NUMPY_TYPES[entry["dtype"]],
            math.prod(entry["shape"]),
            start + entry["data_offsets"][0],
        ).reshape(entry["shape"])
        for name, entry in sorted(entries.items())
    }
