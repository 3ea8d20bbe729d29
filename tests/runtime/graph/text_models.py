"""Models in ONNX's text form, and their executors."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import parser

from pimc.runtime.graph.executor import Executor

HEAD = '<ir_version: 8, opset_import: ["" : 18{more}]>\n'


def model_of(text: str, more: str = "", /, **initializers: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX's text form, with initializers added by name."""
    model = parser.parse_model(HEAD.replace("{more}", more) + text)
    for name, array in initializers.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def executor_of(text: str, more: str = "", /, **initializers: np.ndarray) -> Executor:
    return Executor(ir.from_proto(model_of(text, more, **initializers)))
