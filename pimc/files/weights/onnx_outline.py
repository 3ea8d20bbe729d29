"""ONNX files without their weights: what is large stays in the file until it is asked for.

A parsed message holds a copy of every weight, and to hold it the whole file was read. So the
file's outline is parsed instead: the same message, in which each large tensor of the graph says
where in the file its bytes lie, as a tensor with external data does.
The encoding is protobuf's, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pimc.files.memory_map import Buffer

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = [
    "ITSELF",
    "LARGE_BYTES",
    "Segment",
    "in_place",
    "looks_like_model",
    "model_in",
    "outline",
    "segments",
]

#: Bytes of a message, or a tensor whose content stands there.
Segment: TypeAlias = "bytes | ir.TensorProtocol"

#: Location of external data that lies in the model's own bytes.
ITSELF = ":model:"

#: Tensors below this are cheaper to keep than to look for.
LARGE_BYTES = 1 << 16
#: Field numbers of ONNX's messages.
_IR_VERSION, _GRAPH, _INITIALIZER = 1, 7, 5
_DATA_TYPE, _RAW_DATA, _DATA_LOCATION = 2, 9, 14
#: Wire types, and the size of those that have one.
_VARINT, _BYTES = 0, 2
_FIXED: Mapping[int, int] = {1: 8, 5: 4}
#: Field numbers of a ModelProto and their wire types.
_MODEL: Mapping[int, int] = {
    _IR_VERSION: _VARINT, 2: _BYTES, 3: _BYTES, 4: _BYTES, 5: _VARINT, 6: _BYTES, _GRAPH: _BYTES,
    8: _BYTES, 14: _BYTES, 20: _BYTES, 25: _BYTES, 26: _BYTES,
}  # fmt: skip
#: Types of whole bytes an entry: float32, (u)int8 to 64, bool, float16, double, bfloat16.
_WHOLE_BYTES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16})


class _MalformedError(Exception):
    """Not what a message looks like; the parser says what is wrong with it."""


@dataclass(frozen=True)
class _Field:
    """One field of a message: all of it, and its value, as places in the file."""

    number: int
    wire: int
    start: int
    value: int
    end: int


def outline(data: Buffer) -> onnx.ModelProto:
    """Parse a model whose large initializers have external data at :data:`ITSELF`.

    Raises:
        google.protobuf.message.DecodeError: not a model.
    """
    import onnx

    try:
        text = _without_weights(data, 0, len(data), (_GRAPH, _INITIALIZER))
    except (_MalformedError, IndexError):
        text = bytes(data[:])
    model: onnx.ModelProto = onnx.ModelProto.FromString(text)
    return model


def looks_like_model(data: Buffer) -> bool:
    """Whether bytes are a whole message with the fields of a ``ModelProto``, a graph among them.

    Only the outermost fields are looked at.
    """
    try:
        found = [(field.number, field.wire) for field in _fields(data, 0, len(data))]
    except (_MalformedError, IndexError):
        return False
    known = all(_MODEL.get(number) == wire for number, wire in found)
    return known and (_IR_VERSION, _VARINT) in found and (_GRAPH, _BYTES) in found


def in_place(tensor: ir.ExternalTensor, data: Buffer) -> npt.NDArray[Any]:
    """The array of a tensor that :func:`outline` of ``data`` left there.

    Raises:
        ValueError: it is not of the size that its shape and type need.
    """
    if tensor.length != tensor.nbytes:
        raise ValueError(f"{tensor.length} bytes are there, its shape needs {tensor.nbytes}")
    dtype = tensor.dtype.numpy().newbyteorder("<")
    flat = np.frombuffer(data, dtype, count=tensor.size, offset=tensor.offset or 0)
    return flat.reshape(tensor.shape.numpy())


def model_in(data: Buffer) -> ir.Model:
    """The model that ``data`` holds; large constants are read when they are asked for.

    Raises:
        google.protobuf.message.DecodeError: not a model.
        ValueError: a large constant is not of the size that its shape and type need.
    """
    import onnx_ir as ir

    model: ir.Model = ir.from_proto(outline(data))
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.location == ITSELF:
            in_place(tensor, data)
            value.const_value = ir.LazyTensor(
                partial(_aligned, tensor, data), tensor.dtype, tensor.shape, name=value.name
            )
    return model


def _aligned(tensor: ir.ExternalTensor, data: Buffer) -> ir.TensorProtocol:
    import onnx_ir as ir

    array = np.require(in_place(tensor, data), None, ["ALIGNED", "OWNDATA"])
    return ir.Tensor(array, tensor.dtype, name=tensor.name)


def segments(skeleton: bytes, tensors: Mapping[int, ir.TensorProtocol]) -> list[Segment]:
    """What is written for a model with some contents of initializers put back.

    The opposite of :func:`outline`; the result is what protobuf would write.

    Args:
        skeleton: the model without these contents.
        tensors: contents, by the initializer's number.
    """
    number = 0
    parts: list[Segment] = []
    graph = next(f for f in _fields(skeleton, 0, len(skeleton)) if f.number == _GRAPH)
    for found in _fields(skeleton, graph.value, graph.end):
        if found.number != _INITIALIZER:
            parts.append(skeleton[found.start : found.end])
            continue
        if number in tensors:
            parts += _filled(skeleton, found, tensors[number])
        else:
            parts.append(skeleton[found.start : found.end])
        number += 1
    before = [skeleton[: graph.start], _key(_GRAPH, _BYTES), _varint(_size(parts))]
    return [*before, *parts, skeleton[graph.end :]]


def _filled(data: bytes, initializer: _Field, tensor: ir.TensorProtocol) -> list[Segment]:
    """An initializer with the content of ``tensor``, fields in the order of their numbers."""
    fields = list(_fields(data, initializer.value, initializer.end))
    inner: list[Segment] = [data[f.start : f.end] for f in fields if f.number < _RAW_DATA]
    inner += [_key(_RAW_DATA, _BYTES), _varint(tensor.nbytes), tensor]
    inner += [data[f.start : f.end] for f in fields if f.number > _RAW_DATA]
    return [_key(_INITIALIZER, _BYTES), _varint(_size(inner)), *inner]


def _size(parts: list[Segment]) -> int:
    return sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)


def _without_weights(data: Buffer, start: int, end: int, path: tuple[int, ...]) -> bytes:
    """The message between ``start`` and ``end``, large tensors at ``path`` as outlines."""
    parts: list[bytes] = []
    for found in _fields(data, start, end):
        large = found.end - found.value >= LARGE_BYTES
        if large and path and (found.number, found.wire) == (path[0], _BYTES):
            inner = _without_weights(data, found.value, found.end, path[1:])
            parts += [_key(found.number, _BYTES), _varint(len(inner)), inner]
        elif large and not path and found.number == _RAW_DATA:
            return _tensor(data, start, end, found)
        else:
            parts.append(bytes(data[found.start : found.end]))
    return b"".join(parts)


def _tensor(data: Buffer, start: int, end: int, raw: _Field) -> bytes:
    """A tensor with its raw data left out, or all of it where they cannot be read in place."""
    import onnx

    others = [found for found in _fields(data, start, end) if found != raw]
    types = [_read_varint(data, f.value)[0] for f in others if f.number == _DATA_TYPE]
    if not set(types) <= _WHOLE_BYTES or any(f.number == _DATA_LOCATION for f in others):
        return bytes(data[start:end])
    place = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    facts = {"location": ITSELF, "offset": raw.value, "length": raw.end - raw.value}
    for key, value in facts.items():
        place.external_data.add(key=key, value=str(value))
    kept = [bytes(data[found.start : found.end]) for found in others]
    return b"".join([*kept, place.SerializeToString()])


def _fields(data: Buffer, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        key, value = _read_varint(data, start)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            stop = _read_varint(data, value)[1]
        elif wire == _BYTES:
            length, value = _read_varint(data, value)
            stop = value + length
        elif wire in _FIXED:
            stop = value + _FIXED[wire]
        else:
            raise _MalformedError
        if stop > end:
            raise _MalformedError
        yield _Field(number, wire, start, value, stop)
        start = stop


def _read_varint(data: Buffer, start: int) -> tuple[int, int]:
    """A number of seven bits a byte, least first, and where it ends."""
    number = shift = 0
    while True:
        byte = data[start]
        number |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            return number, start


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)
