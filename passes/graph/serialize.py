"""A graph as the bytes of an ONNX file that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pimc.errors import ModelError
from pimc.files.container import Deferred
from pimc.files.memory_map import let_go
from pimc.files.weights.onnx_outline import (
    ITSELF,
    LARGE_BYTES,
    Segment,
    segments,
)
from pimc.files.writing.atomic import little_endian

#: Entries of a tensor written together.
_PART = 1 << 22


def graph_bytes(model: ir.Model) -> Deferred:
    """``model`` as a ``ModelProto``; external data, which may be mapped until now, is inside.

    Large constants are read when it is written; ModelError is raised then if they are gone.

    Raises:
        ModelError: the result is larger than protobuf can write, or the data is gone.
    """
    whole = model.clone()  # the clone's values are its own; tensors are shared, not copied
    large: dict[int, ir.TensorProtocol] = {}
    for number, value in enumerate(whole.graph.initializers.values()):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= LARGE_BYTES and tensor.dtype.bitwidth >= 8:
            large[number] = tensor
            value.const_value = ir.ExternalTensor(
                ITSELF,
                0,
                0,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
            )
    with _readable(model):
        for graph in whole.graphs():
            if isinstance(graph, ir.Graph):
                _load_initializers(graph)
        for node in whole.graph.all_nodes():
            _load_attributes(node)
        parts = segments(_skeleton(whole), large)
    size = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    return Deferred(np.dtype(np.uint8), (size,), partial(_written, model, parts))


@contextmanager
def _readable(model: ir.Model) -> Iterator[None]:
    """Errors of reading and of writing are about ``model``."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"the external data can no longer be read: {error.strerror or error}",
            where=model.graph.name,
            hint="keep the data file in place until the command is done",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"the network without its layers cannot be written: {error}",
            where=model.graph.name,
            hint="what stays digital must be smaller than protobuf's limit of 2 GB",
        ) from error


def _skeleton(model: ir.Model) -> bytes:
    """The message without the contents that are to be put into it."""
    proto = ir.to_proto(model)
    for tensor in proto.graph.initializer:
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _written(model: ir.Model, parts: Sequence[Segment]) -> Iterator[npt.NDArray[np.uint8]]:
    with _readable(model):
        for part in parts:
            if isinstance(part, bytes):
                yield np.frombuffer(part, np.uint8)
                continue
            flat = part.numpy().reshape(-1)
            for start in range(0, flat.size, _PART):
                yield little_endian(flat[start : start + _PART]).copy()
                let_go(flat)


def _load_initializers(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.location != ITSELF:
            value.const_value = _loaded(tensor)


def _load_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
            continue
        tensor = attribute.as_tensor()
        if isinstance(tensor, ir.ExternalTensor):
            node.attributes[name] = ir.AttrTensor(name, _loaded(tensor))


def _loaded(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    return ir.external_data.convert_tensors_from_external([tensor])[0]
