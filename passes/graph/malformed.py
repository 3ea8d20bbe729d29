"""Failures that a malformed model is to blame for, told from mistakes of the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

from pimc.errors import ModelError, PimcError
from pimc.passes.graph.quiet import quiet

__all__ = ["REEXPORT", "blaming", "skeleton"]

REEXPORT = "export the model again, or copy it again if it was downloaded"
#: Tensors above this are not looked at: the checker would copy them.
_SMALL_TENSOR_BYTES = 1024


@contextmanager
def blaming(model: onnx.ModelProto | ir.Model, where: str) -> Iterator[None]:
    """Turn what stumbles over a model that ONNX's own checker refuses into what the checker says.

    A model is not checked beforehand: many that the checker refuses run everywhere. An exception
    on a model that it takes is a mistake of the compiler, and goes on as such.

    Args:
        where: the model's name for messages.

    Raises:
        ModelError: in place of an exception that is none of pimc's own.
    """
    try:
        yield
    except (PimcError, MemoryError):
        raise
    except Exception as cause:
        complaint = _complaint(model)
        if complaint is None:
            raise
        raise ModelError(f"malformed ONNX: {complaint}", where=where, hint=REEXPORT) from cause


def _complaint(model: onnx.ModelProto | ir.Model) -> str | None:
    """What ONNX's checker says of a model, in a line; None if nothing."""
    try:
        with quiet():
            proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(skeleton(model))
            onnx.checker.check_model(proto, full_check=True)
    except Exception as caught:
        # The checker, the shape inference inside it and the library name no common class.
        error: BaseException = caught
        while error.__cause__ is not None:
            error = error.__cause__
        text = " ".join(str(error).split()) or type(error).__name__
        return text.partition(" ==> Context: ")[0].rstrip(".")
    return None


def skeleton(model: ir.Model) -> ir.Model:
    """A copy without large weights, which become inputs."""
    copied = model.clone()
    graph = copied.graph
    for value in list(graph.initializers.values()):
        if value.const_value is not None and value.const_value.nbytes > _SMALL_TENSOR_BYTES:
            graph.initializers.pop(value.name or "")
            graph.inputs.append(value)
    return copied
