"""A deep network of random weights, which few levels cost much of its accuracy."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image

WIDTH = 24


def deep_net(depth: int) -> onnx.ModelProto:
    """``depth`` layers of 24 units with ReLU, and four classes."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for number in range(depth + 1):
        last = number == depth
        shape, scale = (WIDTH, 4 if last else WIDTH), (2 if last else 1) * (2 / WIDTH) ** 0.5
        weight = (scale * rng.standard_normal(shape)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{number}"], [f"y{number}"]))
        x = f"h{number}"
        if not last:
            nodes.append(helper.make_node("Relu", [f"y{number}"], [x]))
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info(f"y{depth}", TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def deep_inputs(count: int = 256) -> Dataset:
    x = np.random.default_rng(7).standard_normal((count, WIDTH)).astype(np.float32)
    return Dataset.of(x, name="deep.npy")


def deep_image(depth: int, levels: int, sigma: float, data: Dataset) -> Image:
    chip = Chip.default().with_array(64, 32).with_levels(levels).with_sigma(sigma)
    return compile_model(
        deep_net(depth), chip, calib=data, options=Options(purpose="as-programmed")
    )
