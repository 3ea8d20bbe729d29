"""What a maker makes of a network: its model, and the data that it is calibrated and judged on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

__all__ = ["Array", "Made", "fixed", "with_outputs"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Made:
    """Files of a network.

    Attributes:
        model: the ONNX file.
        calib, test: arrays by the names of inputs and targets.
        settings: ``data.toml``; none where empty.
    """

    model: bytes
    calib: Mapping[str, Array]
    test: Mapping[str, Array]
    settings: str = ""

    def files(self) -> dict[str, bytes]:
        """Content by file name; the same for the same arrays."""
        found = {
            "model.onnx": self.model,
            "calib.npz": _npz(self.calib),
            "test.npz": _npz(self.test),
        }
        return {**found, "data.toml": self.settings.encode()} if self.settings else found


def _npz(arrays: Mapping[str, Array]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(arrays))
    return stream.getvalue()


def fixed(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A model whose inputs have these shapes behind a free batch; what follows is worked out anew.

    With sizes that are known, energy and latency are, too.
    """
    import onnx

    for one in model.graph.input:
        if one.name in shapes:
            dims = one.type.tensor_type.shape.dim
            dims[0].dim_param = "N"
            for dim, size in zip(dims[1:], shapes[one.name], strict=True):
                dim.dim_value = size
    for one in model.graph.output:
        one.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def with_outputs(
    model: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto], nodes: Sequence[onnx.NodeProto]
) -> onnx.ModelProto:
    """A model with further nodes and other outputs, without what nothing needs any more."""
    graph = model.graph
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.extend(outputs)
    wanted, kept = {one.name for one in outputs}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    unused = [one for one in graph.initializer if one.name not in wanted]
    for one in unused:
        graph.initializer.remove(one)
    return model
