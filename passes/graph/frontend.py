"""Read an ONNX model into the first plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from pimc.errors import ModelError
from pimc.files.fingerprint import external_files, fingerprint
from pimc.files.memory_map import Buffer, mapped
from pimc.files.weights.onnx_outline import ITSELF, in_place, outline
from pimc.passes.graph.malformed import REEXPORT, blaming
from pimc.passes.graph.normal import normal
from pimc.passes.graph.opset import upgraded
from pimc.passes.graph.quiet import quiet
from pimc.plan.records import Plan


@dataclass(frozen=True)
class _Source:
    """The bytes of a model, the name shown for it and the folder of its external data."""

    data: Buffer
    name: str
    folder: Path | None


def load_model(model: str | Path | bytes | onnx.ModelProto | ir.Model) -> Plan:
    """Read ``model`` and return a plan of stage ``frontend``.

    The user's file or object is never changed. Large weights are memory-mapped, not read, whether
    they lie in the model's file or in others.
    Models below opset 13 are converted first. Graph inputs that only give an initializer's
    name (old exporters) are dropped: the compiler takes every initializer as a constant.

    Args:
        model: path of an ``.onnx`` file, its bytes, or a model in memory.

    Raises:
        ModelError: the file is missing, not ONNX, truncated or of an unknown opset, external
            data is missing or short, or the graph is malformed (no output, undefined names,
            cycles).
    """
    source = _source(model)
    proto = _parse(source)
    notes = normal(proto, source.name)
    files = {} if source.folder is None else external_files(proto, source.folder)
    graph = _graph(proto, source)
    digest = fingerprint(source.data, files)
    return Plan(graph, model_name=source.name, model_sha256=digest, notes=tuple(notes))


def read_graph(path: Path) -> ir.Model:
    """The network in an ``.onnx`` file alone, read as :func:`load_model` reads it.

    Raises:
        ModelError: as there.
    """
    source = _source_from_file(path)
    return _graph(_parse(source), source)


def _graph(proto: onnx.ModelProto, source: _Source) -> ir.Model:
    with blaming(proto, source.name):
        with quiet():
            model = _deserialize(upgraded(proto, source.name), source)
            RemoveInitializersFromInputsPass()(model)
        _read_embedded(model, source)
        _check_external(_external_tensors(model), source)
        _check_graph(model, source)
    return model


def _source(model: str | Path | bytes | onnx.ModelProto | ir.Model) -> _Source:
    match model:
        case bytes():
            return _Source(model, "model.onnx", None)
        case onnx.ModelProto():
            return _Source(_serialized(model), f"{model.graph.name or 'model'}.onnx", None)
        case ir.Model():
            folders = {Path(t.base_dir) for t in _external_tensors(model)}
            if len(folders) > 1:
                raise ModelError(
                    "external data lies in several folders",
                    where=model.graph.name,
                    hint="save the model to one file with one folder of data",
                )
            name = f"{model.graph.name or 'model'}.onnx"
            return _Source(_serialized(ir.to_proto(model)), name, next(iter(folders), None))
        case _:
            return _source_from_file(Path(model))


def _source_from_file(path: Path) -> _Source:
    try:
        data = mapped(path)
    except FileNotFoundError:
        raise ModelError("no such file", where=str(path), hint="check the path") from None
    except IsADirectoryError:
        raise ModelError(
            "this is a folder", where=str(path), hint="give the .onnx file inside it"
        ) from None
    except OSError as error:
        raise ModelError(
            f"cannot be read: {error.strerror}", where=str(path), hint="check its permissions"
        ) from None
    if not data:
        raise ModelError("the file is empty", where=str(path), hint=REEXPORT)
    # Not resolve(): external data lies beside the link a user names, not beside its target.
    return _Source(data, path.name, path.absolute().parent)


def _serialized(proto: onnx.ModelProto) -> bytes:
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except ValueError:
        raise ModelError(
            "the model is larger than protobuf's limit of 2 GB",
            where=proto.graph.name,
            hint="save it to a file with external data and give the path",
        ) from None


def _parse(source: _Source) -> onnx.ModelProto:
    try:
        proto = outline(source.data)
    except DecodeError:
        raise ModelError(
            "not an ONNX file, or truncated", where=source.name, hint=REEXPORT
        ) from None
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError("not an ONNX model: it holds no graph", where=source.name, hint=REEXPORT)
    if not proto.graph.output:
        raise ModelError(
            "the graph has no outputs", where=source.name, hint="export it with its outputs"
        )
    return proto


def _deserialize(proto: onnx.ModelProto, source: _Source) -> ir.Model:
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        # onnx_ir names no class for malformed protos: KeyError, ValueError and others occur.
        raise ModelError(
            f"malformed ONNX: {type(error).__name__}: {error}", where=source.name, hint=REEXPORT
        ) from error
    if source.folder is not None:
        ir.external_data.set_base_dir(model.graph, source.folder)
    return model


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    for graph in model.graphs():
        if isinstance(graph, ir.Graph):
            yield graph


def _tensors(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Every named constant of the model, initializers first, then attributes of nodes."""
    for graph in _graphs(model):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                yield name, value.const_value
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR:
                yield node.outputs[0].name or node.name or "", attribute.as_tensor()


def _external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    return [t for _, t in _tensors(model) if isinstance(t, ir.ExternalTensor)]


def _check_external(tensors: list[ir.ExternalTensor], source: _Source) -> None:
    problems = [problem for t in tensors if (problem := _external_problem(t, source.folder))]
    if problems:
        raise ModelError(
            "external data cannot be used:\n  " + "\n  ".join(problems),
            where=source.name,
            hint="keep the data file beside the .onnx file, complete",
        )


def _external_problem(tensor: ir.ExternalTensor, folder: Path | None) -> str | None:
    """What is wrong with the data file of ``tensor``, or None."""
    location = os.fspath(tensor.location)
    if folder is None:
        return f"{tensor.name}: in {location!r}, but the model was not given as a path"
    inside = os.path.realpath(folder)
    path = os.path.realpath(tensor.path)
    if os.path.isabs(location) or os.path.commonpath([inside, path]) != inside:
        return f"{tensor.name}: {location!r} is outside the model's folder"
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{tensor.name}: {location!r}: {error.strerror}"
    if status.st_nlink > 1:
        return f"{tensor.name}: {location!r} is a hard link; copy the file"
    declared = tensor.length if tensor.length is not None else tensor.nbytes
    if declared < tensor.nbytes:
        return f"{tensor.name}: {declared} bytes stated, its shape needs {tensor.nbytes}"
    missing = (tensor.offset or 0) + tensor.nbytes - status.st_size
    if missing > 0:
        return f"{tensor.name}: {location!r} is {missing} bytes too short"
    return None


def _read_embedded(model: ir.Model, source: _Source) -> None:
    """Take every tensor of the file out of the parsed message, or map it where it is large.

    A tensor of the message would be copied out of it each time that it is asked for.
    """
    problems: list[str] = []

    def read(name: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        try:
            if not isinstance(tensor, ir.ExternalTensor):
                array = tensor.numpy()
            elif tensor.location == ITSELF:
                array = in_place(tensor, source.data)
            else:
                return tensor
        except Exception as error:
            # The class depends on which field of the tensor is short.
            problems.append(f"{name}: {error}")
            return tensor
        if tensor.dtype == ir.DataType.STRING:
            return tensor
        return ir.Tensor(array, tensor.dtype, name=tensor.name)

    for graph in _graphs(model):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                value.const_value = read(name, value.const_value)
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR:
                label = node.outputs[0].name or node.name or ""
                node.attributes[name] = ir.AttrTensor(name, read(label, attribute.as_tensor()))
    if problems:
        raise ModelError(
            "damaged tensors:\n  " + "\n  ".join(problems), where=source.name, hint=REEXPORT
        )


def _check_graph(model: ir.Model, source: _Source) -> None:
    """Order the nodes and refuse undefined names and cycles."""
    problems = [
        f"{value.name}: read by {node.op_type} {node.name or ''}, but nothing defines it"
        for node in model.graph.all_nodes()
        for value in node.inputs
        if value is not None and _undefined(value)
    ]
    problems += [
        f"{value.name}: is a graph output, but nothing defines it"
        for value in model.graph.outputs
        if _undefined(value)
    ]
    try:
        model.graph.sort()
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ModelError(
            "malformed graph:\n  " + "\n  ".join(problems), where=source.name, hint=REEXPORT
        )


def _undefined(value: ir.Value) -> bool:
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()
