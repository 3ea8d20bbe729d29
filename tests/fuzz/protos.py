"""ONNX models that parse and are wrong: fields changed, moved and taken away."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]  # no stubs

__all__ = ["model_changed"]

_WHOLE = (0, 1, -1, 2, 3, 5, 7, 11, 16, 100, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63))
_REAL = (0.0, -1.0, 1e-40, 1e20, 3e38, float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    "", "x", "y", "w1", "f", "a\0b", "../x", "/etc/passwd", "é", "Conv", "Gemm", "MatMul", "Loop",
    "If", "Relu", "pimc", "ai.onnx", "com.microsoft", "w" * 3000, "location", "weights.bin",
)  # fmt: skip


def model_changed(rng: Random, data: bytes) -> bytes:
    """A model with one to three changes."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        messages = list(_messages(model, 0))
        rng.choice((_field, _field, _field, _nest))(rng, rng.choice(messages), model)
    return bytes(model.SerializeToString())


def _messages(message: Any, depth: int) -> Iterator[Any]:
    yield message
    if depth > 12:
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner, depth + 1)


def _field(rng: Random, message: Any, model: onnx.ModelProto) -> None:
    fields = list(message.DESCRIPTOR.fields)
    there = [field for field, _ in message.ListFields()]
    # What is there is changed more often than what is not is added.
    field = rng.choice(there) if there and rng.random() < 0.8 else rng.choice(fields)
    if field.is_repeated:
        _list(rng, message, field)
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, _scalar(rng, field))


def _list(rng: Random, message: Any, field: Any) -> None:
    values = getattr(message, field.name)
    act = rng.random()
    if values and act < 0.25:
        del values[rng.randrange(len(values))]
    elif values and act < 0.35:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if values and act < 0.8:
            kept = values[rng.randrange(len(values))]
            values.add().CopyFrom(kept)
        else:
            values.add()
    elif values and act < 0.8:
        values[rng.randrange(len(values))] = _scalar(rng, field)
    else:
        values.append(_scalar(rng, field))


def _scalar(rng: Random, field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(_TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\0", b"\xff" * 4, b"\0\0\xc0\x7f" * 6, rng.randbytes(24)))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return rng.choice(_REAL)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_INT32:
        return rng.choice([value for value in _WHOLE if -(2**31) <= value < 2**31])
    if field.type == FieldDescriptor.TYPE_UINT64:
        return rng.choice([value for value in _WHOLE if value >= 0])
    return rng.choice(_WHOLE)


def _nest(rng: Random, message: Any, model: onnx.ModelProto) -> None:
    """What the format allows and exporters seldom write."""
    graph = model.graph
    tensors, nodes = list(graph.initializer), list(graph.node)
    act = rng.randrange(5)
    if act == 0 and nodes:  # a body inside a body
        node = graph.node.add(op_type="If", input=["x"], output=["inside"])
        inner = node
        for _ in range(rng.choice((1, 3, 40, 90))):
            body = inner.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
            inner = body.node.add(op_type="If", input=["x"], output=["inside"])
    elif act == 1 and nodes:  # a function that calls itself
        model.functions.add(name="f", domain="d", node=[onnx.NodeProto(op_type="f", domain="d")])
        rng.choice(list(graph.node)).MergeFrom(onnx.NodeProto(op_type="f", domain="d"))
    elif act == 2 and tensors:  # data that lie elsewhere
        tensor = rng.choice(list(graph.initializer))
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = rng.choice((*_TEXTS, "."))
        for key, value in (("location", place), ("offset", "-1"), ("length", "99999999999")):
            if rng.random() < 0.7:
                tensor.external_data.add(key=key, value=value)
    elif act == 3 and tensors:  # a weight of numbers that are none
        tensor = rng.choice(list(graph.initializer))
        size = max(len(tensor.raw_data) // 4, 1)
        tensor.raw_data = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xec\x78\xad\x60")) * size
    elif len(nodes) > 1:  # a circle
        first, last = rng.sample(list(graph.node), 2)
        first.input.extend(last.output)
