"""Networks to simplify, and the check that they still mean the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import Plan

Arrays = dict[str, np.ndarray[Any, Any]]

Shape = list[int | str]


def build(
    nodes: list[onnx.NodeProto],
    x_shape: Shape,
    weights: Arrays,
    *,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(a.astype(np.float32) if a.dtype == float else a, n)
            for n, a in weights.items()
        ],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid("local", 1)] if functions else []
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions or [])


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def batchnorm(prefix: str, channels: int) -> Arrays:
    rng = np.random.default_rng(channels)
    return {
        f"{prefix}.scale": rng.uniform(0.5, 1.5, channels),
        f"{prefix}.bias": rng.standard_normal(channels),
        f"{prefix}.mean": rng.standard_normal(channels),
        f"{prefix}.var": rng.uniform(0.5, 1.5, channels),
    }


def bn_node(prefix: str, x: str, y: str) -> onnx.NodeProto:
    names = [f"{prefix}.{p}" for p in ("scale", "bias", "mean", "var")]
    return helper.make_node("BatchNormalization", [x, *names], [y], name=f"{prefix}.node")


def run(model: onnx.ModelProto | ir.Model, x: np.ndarray[Any, Any]) -> list[Any]:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    options = ort.SessionOptions()
    # Fusions of ONNX Runtime compute products of quantized weights in integers.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return list(session.run(None, {session.get_inputs()[0].name: x}))


def simplified(model: onnx.ModelProto | Path) -> Plan:
    return Simplify()(load_model(model))


def same_outputs(
    model: onnx.ModelProto, shape: tuple[int, ...], tolerance: float = 1e-5
) -> Counter[str]:
    """Check that simplification keeps the outputs; returns the ops that are left."""
    plan = simplified(model)
    x = normal(*shape).astype(np.float32)
    for expected, actual in zip(run(model, x), run(plan.graph, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    return Counter(node.op_type for node in plan.graph.graph)
