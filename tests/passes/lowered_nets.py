"""Networks node by node, compiled and held against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.graph.executor import Executor
from pimc.runtime.teacher import teacher_array

Array = np.ndarray[Any, Any]
node = helper.make_node


def drawn(*shape: int) -> Array:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32) * 0.4


def whole(*shape: int) -> Array:
    values: Array = (drawn(*shape) * 100).round().clip(-127, 127).astype(np.int8)
    return values


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Any],
    weights: Mapping[str, Any],
    outputs: tuple[str, ...] = ("y",),
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def golden(model: onnx.ModelProto, feed: dict[str, Array]) -> list[Array]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feed)]


def in_float(image: Image, feed: dict[str, Array]) -> list[Array]:
    """The network with the float weights of its layers."""
    executor = Executor(image.graph(), array=teacher_array(image))
    tensors = {name: torch.from_numpy(value) for name, value in feed.items()}
    return [value.numpy() for value in executor.run(tensors).values()]


def compared(model: onnx.ModelProto, tolerance: float = 1e-5, /, **feed: Array) -> Image:
    """Compile, and hold the float layers against ONNX Runtime."""
    image = compile_model(model, Chip.default().with_array(64, 64))
    for ours, wanted in zip(in_float(image, feed), golden(model, feed), strict=True):
        assert ours.shape == wanted.shape
        np.testing.assert_allclose(ours, wanted, rtol=tolerance, atol=tolerance)
    return image


def layers(image: Image) -> list[tuple[str, str, int, int, int]]:
    return [(e.name, e.op, e.groups, e.rows, e.cols) for e in image.layers]
