"""What runs a network, in the shape of a session; and a graph in plain arithmetic in that shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.runtime.graph.executor import ArrayCall, Executor
from pimc.runtime.session import NodeArg, node_arg

__all__ = ["GraphNetwork", "Network"]

Array = npt.NDArray[Any]


class Network(Protocol):
    """What runs a network; sessions, and those of ONNX Runtime, do."""

    def get_inputs(self) -> Sequence[Any]:
        """The inputs, each with a ``name``, a ``shape`` and a ``type``."""
        ...

    def get_outputs(self) -> Sequence[Any]:
        """The outputs, likewise."""
        ...

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Outputs for inputs."""
        ...


class GraphNetwork:
    """A graph in plain arithmetic, in the shape of a session."""

    def __init__(self, graph: ir.Model, array: ArrayCall | None = None) -> None:
        self._inputs = [node_arg(value) for value in graph.graph.inputs]
        self._outputs = [node_arg(value) for value in graph.graph.outputs]
        self._executor = Executor(graph, array=array)

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return self._inputs

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs."""
        return self._outputs

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        """Outputs for inputs; all of them where ``output_names`` is None."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in input_feed.items()}
        names = self._executor.output_names if output_names is None else tuple(output_names)
        with torch.inference_mode():
            values = self._executor.run(tensors, want=names)
        return [values[name].numpy() for name in names]
