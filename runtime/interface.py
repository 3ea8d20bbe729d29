"""What a network takes and gives, as ONNX Runtime describes it: told without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from pimc.image.image import Image

__all__ = ["NodeArg", "inputs_of", "node_arg", "outputs_of"]


@dataclass(frozen=True)
class NodeArg:
    """An input or output of a model; same fields as ONNX Runtime's."""

    name: str
    shape: list[int | str | None]
    type: str


def inputs_of(image: Image) -> list[NodeArg]:
    """The inputs of an image's network, without a session."""
    return [node_arg(value) for value in image.graph().graph.inputs]


def outputs_of(image: Image) -> list[NodeArg]:
    """The outputs of an image's network, without a session."""
    return [node_arg(value) for value in image.graph().graph.outputs]


def node_arg(value: ir.Value) -> NodeArg:
    """The description of a graph input or output."""
    shape = [
        dim if isinstance(dim, int) else dim.value
        for dim in (value.shape.dims if value.shape else ())
    ]
    dtype = value.dtype or ir.DataType.FLOAT
    return NodeArg(str(value.name), shape, f"tensor({dtype.name.lower()})")
