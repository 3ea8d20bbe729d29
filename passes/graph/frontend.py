"""Read an ONNX model into the first plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from pimc.errors import ModelError
from pimc.files.fingerprint import external_files, fingerprint, stored_tensors
from pimc.files.kinds.reading import read_as
from pimc.files.memory_map import Buffer, mapped
from pimc.files.weights.onnx_outline import ITSELF, in_place, outline
from pimc.passes.graph.external_data import (
    check_external,
    external_tensors,
    place_of,
    replace,
    resolve_links,
)
from pimc.passes.graph.from_torch import is_program, program_model
from pimc.passes.graph.malformed import REEXPORT, blaming
from pimc.passes.graph.normal import normal
from pimc.passes.graph.opset import upgraded
from pimc.passes.graph.quiet import quiet
from pimc.plan.records import Plan

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Source:
    """The bytes of a model, the name shown for it and the folder of its external data."""

    data: Buffer
    name: str
    folder: Path | None


@read_as("model")
def load_model(
    model: str | Path | bytes | onnx.ModelProto | ir.Model | torch.onnx.ONNXProgram,
    *,
    follow_links: bool = False,
) -> Plan:
    """Read ``model`` and return a plan of stage ``frontend``.

    The user's file or object is never changed. Large weights are memory-mapped, not read, whether
    they lie in the model's file or in others.
    Models below opset 13 are converted first. Graph inputs that only give an initializer's
    name (old exporters) are dropped: the compiler takes every initializer as a constant.

    Args:
        model: path of an ``.onnx`` file, its bytes, or a model in memory, torch's exporter's too.
        follow_links: take external data behind symbolic links that leave the model's folder,
            too. Without, a model that was received as a folder can make no other file be read.

    Raises:
        ModelError: the file is missing, not ONNX, truncated or of an unknown opset, external
            data is missing, short or behind a link that is not followed, or the graph is
            malformed (no output, undefined names, cycles).
    """
    source = _source(model)
    proto = _parse(source)
    notes = normal(proto, source.name)
    files = {} if source.folder is None else external_files(proto, source.folder)
    graph = _graph(proto, source, follow_links)
    digest = fingerprint(source.data, files)
    return Plan(graph, model_name=source.name, model_sha256=digest, notes=tuple(notes))


@read_as("model")
def read_graph(path: Path) -> ir.Model:
    """The network in an ``.onnx`` file alone, read as :func:`load_model` reads it.

    Raises:
        ModelError: as there.
    """
    source = _source_from_file(path)
    return _graph(_parse(source), source)


def complete_model(path: Path, *, follow_links: bool = False) -> onnx.ModelProto:
    """The network in an ``.onnx`` file as it stands there, with its external data inside.

    Args:
        path: of the file.
        follow_links: as of :func:`load_model`.

    Raises:
        ModelError: the file is missing or not ONNX, or external data cannot be used.
    """
    source = _source_from_file(path)
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(bytes(source.data))
    except DecodeError:
        raise _not_onnx(source) from None
    outside = [t for t in stored_tensors(proto.graph) if t.data_location == t.EXTERNAL]
    try:
        places = [place_of(tensor, path.absolute().parent) for tensor in outside]
    except Exception as error:
        raise _malformed(error, source) from error
    check_external(places, source.name, source.folder, follow_links=follow_links)
    for tensor, place in zip(outside, places, strict=True):
        with open(place.path, "rb") as stream:
            stream.seek(place.offset or 0)
            tensor.raw_data = stream.read(place.nbytes)
        tensor.ClearField("external_data")
        tensor.data_location = tensor.DEFAULT
    return proto


def _graph(proto: onnx.ModelProto, source: _Source, follow_links: bool = False) -> ir.Model:
    with blaming(proto, source.name):
        with quiet():
            model = _deserialize(upgraded(proto, source.name), source)
            RemoveInitializersFromInputsPass()(model)
        _read_embedded(model, source)
        check_external(
            external_tensors(model), source.name, source.folder, follow_links=follow_links
        )
        resolve_links(model)
        _check_graph(model, source)
    return model


def _source(
    model: str | Path | bytes | onnx.ModelProto | ir.Model | torch.onnx.ONNXProgram,
) -> _Source:
    if is_program(model):
        model = program_model(model)
    match model:
        case bytes():
            return _Source(model, "model.onnx", None)
        case onnx.ModelProto():
            return _Source(_serialized(model), f"{model.graph.name or 'model'}.onnx", None)
        case ir.Model():
            folders = {Path(t.base_dir) for t in external_tensors(model)}
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
            f"cannot be read: {error.strerror}",
            where=str(path),
            hint="check the path and its permissions",
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
        raise _not_onnx(source) from None
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError("not an ONNX model: it holds no graph", where=source.name, hint=REEXPORT)
    if not proto.graph.output:
        raise ModelError(
            "the graph has no outputs", where=source.name, hint="export it with its outputs"
        )
    return proto


def _not_onnx(source: _Source) -> ModelError:
    return ModelError("not an ONNX file, or truncated", where=source.name, hint=REEXPORT)


def _malformed(error: Exception, source: _Source) -> ModelError:
    told = f"malformed ONNX: {type(error).__name__}: {error}"
    return ModelError(told, where=source.name, hint=REEXPORT)


def _deserialize(proto: onnx.ModelProto, source: _Source) -> ir.Model:
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        # onnx_ir names no class for malformed protos: KeyError, ValueError and others occur.
        raise _malformed(error, source) from error
    if source.folder is not None:
        ir.external_data.set_base_dir(model.graph, source.folder)
    return model


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

    replace(model, read)
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
