"""Data that a model keeps in other files: where they lie, and whether they may be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from pimc.errors import ModelError

__all__ = ["check_external", "external_tensors", "place_of", "replace", "resolve_links"]

_LINK = "is a link out of the model's folder"


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


def external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    """The constants of a model whose data lie in other files."""
    return [t for _, t in _tensors(model) if isinstance(t, ir.ExternalTensor)]


def place_of(tensor: onnx.TensorProto, folder: Path) -> ir.ExternalTensor:
    """Where the bytes of a tensor with external data lie."""
    found = ir.serde.deserialize_tensor(tensor, folder)
    assert isinstance(found, ir.ExternalTensor), tensor.name
    return found


def check_external(
    tensors: Sequence[ir.ExternalTensor], name: str, folder: Path | None, *, follow_links: bool
) -> None:
    """Refuse data that are missing, short, or in places that a model must not name.

    Args:
        tensors: whose data lie in other files.
        name: of the model, for the message.
        folder: of the model; None if it was not given as a path.
        follow_links: allow symbolic links out of the folder.

    Raises:
        ModelError: with every offender.
    """
    problems = [problem for t in tensors if (problem := _problem(t, folder, follow_links))]
    if problems:
        hint = "keep the data file beside the .onnx file, complete"
        if any(_LINK in problem for problem in problems):
            hint += "; if you trust the model, --follow-links takes data behind symbolic links"
        raise ModelError(
            "external data cannot be used:\n  " + "\n  ".join(problems),
            where=name,
            hint=hint,
        )


def _problem(tensor: ir.ExternalTensor, folder: Path | None, follow_links: bool) -> str | None:
    """What is wrong with the data file of ``tensor``, or None."""
    location = os.fspath(tensor.location)
    if folder is None:
        return f"{tensor.name}: in {location!r}, but the model was not given as a path"
    if not _lies_in(folder, folder / location):
        return f"{tensor.name}: {location!r} is outside the model's folder"
    path = os.path.realpath(tensor.path)
    if not follow_links and not _lies_in(os.path.realpath(folder), path):
        return f"{tensor.name}: {location!r} {_LINK}"
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{tensor.name}: {location!r}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{tensor.name}: {location!r} is no regular file"
    if status.st_nlink > 1:
        return f"{tensor.name}: {location!r} is a hard link; copy the file"
    declared = tensor.length if tensor.length is not None else tensor.nbytes
    if declared < tensor.nbytes:
        return f"{tensor.name}: {declared} bytes stated, its shape needs {tensor.nbytes}"
    missing = (tensor.offset or 0) + tensor.nbytes - status.st_size
    if missing > 0:
        return f"{tensor.name}: {location!r} is {missing} bytes too short"
    return None


def resolve_links(model: ir.Model) -> None:
    """Name the files that links lead to: onnx_ir reads through no link out of a folder."""

    def resolved(_: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not isinstance(tensor, ir.ExternalTensor):
            return tensor
        folder, name = os.path.split(os.path.realpath(tensor.path))
        return ir.ExternalTensor(
            name,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=tensor.shape,
            name=tensor.name,
            base_dir=folder,
        )

    replace(model, resolved)


def replace(model: ir.Model, change: Callable[[str, ir.TensorProtocol], ir.TensorProtocol]) -> None:
    """Put what ``change`` makes of each named constant in its place."""
    for graph in _graphs(model):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                value.const_value = change(name, value.const_value)
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR:
                label = node.outputs[0].name or node.name or ""
                node.attributes[name] = ir.AttrTensor(name, change(label, attribute.as_tensor()))


def _lies_in(folder: str | Path, path: str | Path) -> bool:
    """Whether a path leads into a folder; links are not looked at."""
    folder, path = os.path.normpath(folder), os.path.normpath(path)
    return os.path.commonpath([folder, path]) == folder
