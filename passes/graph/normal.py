"""What ONNX Runtime takes in a model file and the compiler does not: brought to its usual form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pimc.errors import ModelError
from pimc.files.fingerprint import stored_tensors
from pimc.files.limits import memory_bytes

__all__ = ["deployed_form", "normal"]


def normal(proto: onnx.ModelProto, where: str) -> list[str]:
    """Bring a parsed model to its usual form, in place.

    Dimensions below zero become free ones, sparse initializers dense ones, and operators saved
    in training mode those of inference.

    Returns:
        What was changed that a user should know of, a sentence each.

    Raises:
        ModelError: functions that call themselves, inputs or outputs that are maps, external data
            at no place, or a sparse initializer that is malformed or too large when dense.
    """
    _check_functions(proto, where)
    _check_locations(proto, where)
    _free_dimensions(proto.graph)
    for sparse in proto.graph.sparse_initializer:
        proto.graph.initializer.append(_dense(sparse, where))
    del proto.graph.sparse_initializer[:]
    notes = deployed_form(proto)
    _refuse_maps(proto, where)
    return notes


def deployed_form(proto: onnx.ModelProto) -> list[str]:
    """Take a network for what is meant by deploying it, in place.

    In training mode a batch norm takes the statistics of the batch at hand, and a dropout is
    random: no chip computes that, and nobody who deploys a network means it. A batch norm whose
    statistics are read is left as it is. A ZipMap makes a dictionary of every sample's
    probabilities; the tensor that holds them is what is wanted.

    Returns:
        A sentence for each kind of operator that was changed.
    """
    return _without_training(proto) + _without_maps(proto)


def _without_training(proto: onnx.ModelProto) -> list[str]:
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in proto.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    read = {name for node in _nodes(proto.graph.node) for name in node.input}
    read |= {value.name for value in proto.graph.output}
    changed = {"BatchNormalization": 0, "Dropout": 0}
    for node in _nodes(proto.graph.node):
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "BatchNormalization":
            changed[node.op_type] += _in_inference(node, read)
        elif node.op_type == "Dropout" and len(node.input) == 3:
            mode = constants.get(node.input[2])
            if mode is not None and numpy_helper.to_array(mode).any():
                del node.input[2]
                changed[node.op_type] += 1
    return [
        f"{count} {name} in training mode: taken as in inference"
        for name, count in changed.items()
        if count
    ]


def _without_maps(proto: onnx.ModelProto) -> list[str]:
    dropped = []
    for node in proto.graph.node:
        if (node.domain, node.op_type) == ("ai.onnx.ml", "ZipMap"):
            dropped.append(node.output[0])
            node.domain, node.op_type = "", "Identity"
            del node.attribute[:]
    for value in (*proto.graph.output, *proto.graph.value_info):
        if value.name in dropped:
            value.type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    return [f"ZipMap {name}: the tensor behind it, a column a class" for name in dropped]


def _refuse_maps(proto: onnx.ModelProto, where: str) -> None:
    for value in (*proto.graph.input, *proto.graph.output):
        kind = value.type
        inner = kind.sequence_type.elem_type if kind.HasField("sequence_type") else kind
        if inner.HasField("map_type"):
            raise ModelError(
                f"{value.name} is a map, and the compiler knows tensors and sequences of them",
                where=where,
                hint="export the model without maps (scikit-learn: zipmap=False)",
            )


def _in_inference(node: onnx.NodeProto, read: set[str]) -> bool:
    if read.intersection(filter(None, node.output[1:])):
        return False
    for attribute in node.attribute:
        if attribute.name == "training_mode" and attribute.i:
            attribute.i = 0
            del node.output[1:]
            return True
    return False


def _check_functions(proto: onnx.ModelProto, where: str) -> None:
    """Refuse functions that call themselves, through others or not."""
    calls = {
        (f.domain, f.name): {(node.domain, node.op_type) for node in _nodes(f.node)}
        for f in proto.functions
    }
    known = set(calls)
    while calls:
        # Those that call no function that is left can be taken away; what stays is a circle.
        done = {name for name, used in calls.items() if not used & calls.keys()}
        if not done:
            names = ", ".join(".".join(filter(None, name)) for name in sorted(calls))
            raise ModelError(
                f"functions call each other in a circle: {names}",
                where=where,
                hint="export the model without recursive functions",
            )
        calls = {name: used for name, used in calls.items() if name not in done}
    if len(known) != len(proto.functions):
        raise ModelError("two functions have one name", where=where, hint="export the model again")


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _check_locations(proto: onnx.ModelProto, where: str) -> None:
    for tensor in stored_tensors(proto.graph):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if not location or "\0" in location:
            problem = f"its location {location!r} is no file's name"
        elif not all(_is_count(entries.get(key, "0")) for key in ("offset", "length")):
            problem = "its offset or length is no number"
        else:
            continue
        raise ModelError(
            f"external data of {tensor.name} cannot be used: {problem}",
            where=where,
            hint="export the model again",
        )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _free_dimensions(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and dim.dim_value < 0:
                    dim.ClearField("dim_value")


def _dense(sparse: onnx.SparseTensorProto, where: str) -> onnx.TensorProto:
    name, dims = sparse.values.name, tuple(sparse.dims)
    try:
        values = numpy_helper.to_array(sparse.values)
        places = numpy_helper.to_array(sparse.indices).astype(np.int64)
        if min(dims, default=1) < 0 or math.prod(dims) * values.itemsize > memory_bytes():
            raise ValueError(f"its shape {dims} is larger than memory")
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), dims)
        if values.shape != places.shape or np.any((places < 0) | (places >= math.prod(dims))):
            raise ValueError("its indices do not fit its values or its shape")
    except (TypeError, ValueError) as cause:
        raise ModelError(
            f"the sparse initializer {name} is malformed: {cause}",
            where=where,
            hint="store this tensor dense",
        ) from cause
    dense = np.zeros(math.prod(dims), values.dtype)
    dense[places] = values
    return numpy_helper.from_array(dense.reshape(dims), name)
