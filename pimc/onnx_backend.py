"""ONNX's backend interface, so that its conformance suite runs against this runtime.

    import onnx.backend.test
    import pimc.onnx_backend

    tests = onnx.backend.test.BackendTest(pimc.onnx_backend, __name__)

Operators are computed digitally; with a chip, a network that has layers for the array is
compiled and run on a die whose cells hold exactly what they should.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx.backend.base import Backend, BackendRep

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from pimc.runtime.graph.executor import Executor
from pimc.runtime.ops.values import to_numpy
from pimc.runtime.session import Session

__all__ = [
    "PimcBackend",
    "PreparedModel",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]


@dataclass(frozen=True)
class PreparedModel(BackendRep):
    """A model that can be run again and again."""

    executor: Executor = field(repr=False)
    session: Session | None = field(default=None, repr=False)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs for inputs, given in order or by name."""
        names = self.executor.input_names
        feed = (
            dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=False))
        )
        values = {name: _given(value) for name, value in feed.items()}
        with torch.inference_mode():
            array = None if self.session is None else self.session.array
            found = self.executor.run(values, array=array)
        return tuple(_returned(found[name]) for name in self.executor.output_names)


class PimcBackend(Backend):
    """What :mod:`onnx.backend.base` asks of a backend."""

    @classmethod
    def prepare(
        cls, model: onnx.ModelProto, device: str = "CPU", *, chip: Chip | None = None, **kwargs: Any
    ) -> PreparedModel:
        """A model ready to run.

        Args:
            chip: put its layers on the arrays of a perfect die; all is digital without one.

        Raises:
            ModelError: the model is malformed, or has an operator that nobody knows.
            UsageError: the device is not ``CPU``.
        """
        if not cls.supports_device(device):
            raise UsageError(f"no device {device}", hint="give CPU")
        onnx.checker.check_model(model)
        if chip is None:
            return PreparedModel(Executor(ir.from_proto(model)))
        image: Image = compile_model(load_model(model), chip)
        session = Session(image)
        return PreparedModel(session.executor, session)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Outputs of one node."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        given = [np.asarray(value) for value in inputs]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [
                onnx.helper.make_tensor_value_info(
                    name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
                )
                for name, value in zip(filter(None, node.input), given, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        imports = [onnx.helper.make_opsetid(node.domain, version)]
        model = onnx.helper.make_model(graph, opset_imports=imports)
        return PreparedModel(Executor(ir.from_proto(model))).run(given)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the processor."""
        return device.split(":")[0] == "CPU"


def _given(value: Any) -> Any:
    """An input as the executor takes it."""
    if isinstance(value, list):
        return [_given(entry) for entry in value]
    return value if value is None or isinstance(value, torch.Tensor) else np.asarray(value)


def _returned(value: Any) -> Any:
    if isinstance(value, list):
        return [_returned(entry) for entry in value]
    return None if value is None else to_numpy(value)


is_compatible = PimcBackend.is_compatible
prepare = PimcBackend.prepare
run_model = PimcBackend.run_model
run_node = PimcBackend.run_node
supports_device = PimcBackend.supports_device
