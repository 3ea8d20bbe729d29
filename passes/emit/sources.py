"""Arrays and stored weights as JSON entries and tensors of a container, and back as they were.

An array comes back with its entries in the order in which they lay, a weight in its stored type:
sums over a weight follow that order, and depend on it in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pimc.files.container import Content, Deferred, Tensor
from pimc.files.memory_map import let_go
from pimc.files.stored import Dequantized, Packed
from pimc.passes.simplify.deferred import Source

__all__ = ["get_array", "get_source", "lies_in_order", "put_array", "put_source"]

Array = npt.NDArray[Any]
Entry = dict[str, Any]
Contents = dict[str, Content]

#: Entries of an array written together.
_PART = 1 << 22
#: Types of the container; others go as whole numbers of the same width.
_PLAIN = "biuf"


def put_array(name: str, array: Array, contents: Contents) -> Entry:
    """Add an array; returns its entry."""
    axes = sorted(range(array.ndim), key=partial(_stride, array), reverse=True)
    flat = array.transpose(axes)
    if flat.dtype.kind not in _PLAIN:
        flat = flat.view(np.dtype(f"u{flat.itemsize}"))
    contents[name] = Deferred(flat.dtype.newbyteorder("<"), flat.shape, partial(_parts, flat))
    return {"tensor": name, "type": ir.DataType.from_numpy(array.dtype).name, "axes": axes}


def _stride(array: Array, axis: int) -> float:
    """Bytes from one entry of an axis to the next; a first axis of one entry is the outermost."""
    return math.inf if axis == 0 and array.shape[0] == 1 else array.strides[axis]


def get_array(entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Array:
    """The array of an entry, read when it is looked at where the tensors are mapped."""
    dtype = ir.DataType[entry["type"]].numpy()
    flat = tensors[entry["tensor"]]
    flat = flat if flat.dtype == dtype else flat.view(dtype)
    return flat.transpose(np.argsort(entry["axes"]))


def _parts(array: Array) -> Iterator[Tensor]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PART):
        yield flat[start : start + _PART]
        let_go(flat)


def lies_in_order(array: Array) -> bool:
    """Whether the entries lie row by row, and a column alone is not taken for a row."""
    wanted = array.itemsize
    for size, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if stride != wanted:
            return False
        wanted *= size
    return True


def put_source(name: str, source: Source, contents: Contents) -> Entry:
    """Add a weight; returns its entry."""
    if not isinstance(source, Dequantized):
        return {"array": put_array(name, source, contents)}
    codes = source.codes
    data = codes.data if isinstance(codes, Packed) else codes
    entry: Entry = {
        "codes": put_array(f"{name}.codes", data, contents),
        "packed": None,
        "scale": put_array(f"{name}.scale", source.scale, contents),
        "zero": None,
        "block": list(source.block),
        "type": ir.DataType.from_numpy(source.dtype).name,
    }
    if isinstance(codes, Packed):
        facts = ("bits", "length", "by_column", "signed")
        entry["packed"] = {fact: getattr(codes, fact) for fact in facts}
    if source.zero is not None:
        entry["zero"] = put_array(f"{name}.zero", source.zero, contents)
    return entry


def get_source(entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Source:
    """The weight of an entry."""
    if "array" in entry:
        return get_array(entry["array"], tensors)
    data = get_array(entry["codes"], tensors)
    rows, cols = entry["block"]
    return Dequantized(
        data if entry["packed"] is None else Packed(data, **entry["packed"]),
        get_array(entry["scale"], tensors),
        None if entry["zero"] is None else get_array(entry["zero"], tensors),
        (rows, cols),
        ir.DataType[entry["type"]].numpy(),
    )
