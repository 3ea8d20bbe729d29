"""A small model that tests of reading share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def small_model(opset: int = 17, *, weights_as_inputs: bool = False) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu, GlobalAveragePool, Flatten, Gemm; batch is dynamic."""
    rng = np.random.default_rng(0)
    tensors = {
        "conv.weight": rng.standard_normal((4, 3, 3, 3)),
        "bn.scale": rng.uniform(0.5, 1.5, 4),
        "bn.bias": rng.standard_normal(4),
        "bn.mean": rng.standard_normal(4),
        "bn.var": rng.uniform(0.5, 1.5, 4),
        "fc.weight": rng.standard_normal((5, 4)),
        "fc.bias": rng.standard_normal(5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["b"]
        ),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])]
    if weights_as_inputs:
        inputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in tensors.items()
        ]
    graph = helper.make_graph(
        nodes,
        "small",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in tensors.items()],
    )
    ir_version = 3 if weights_as_inputs else 8
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def run(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(model.SerializeToString())
    (result,) = session.run(None, {"x": x})
    return np.asarray(result)


def save_external(model: onnx.ModelProto, path: Path) -> None:
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
