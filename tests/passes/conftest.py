"""Networks given node by node, and the check that a partitioned one computes what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from pimc.passes.array.partition import Partition
from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Plan,
    Window,
    array_nodes,
)

Array = np.ndarray[Any, Any]


def build_net(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str]],
    weights: dict[str, Array],
    *,
    outputs: tuple[str, ...] = ("y",),
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [
            numpy_helper.from_array(a.astype(np.float32) if a.dtype == float else a, name)
            for name, a in weights.items()
        ],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def partitioned(model: onnx.ModelProto | Path, digital: tuple[str, ...] = ()) -> Plan:
    return Partition(digital)(lowered(model))


def lowered(model: onnx.ModelProto | Path) -> Plan:
    return Lower()(Simplify()(load_model(model)))


def vectors(x: Array, window: Window) -> Array:
    """Input vectors (batch, channels, kernel elements, positions), by plain indexing."""
    spatial = x.shape[2:]
    pads, rank = window.resolved_pads(spatial), len(spatial)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    steps = [
        (size - r) // s + 1 for size, r, s in zip(x.shape[2:], reach, window.strides, strict=True)
    ]
    columns = []
    for offset in np.ndindex(*window.kernel):
        slices = tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, n, s in zip(offset, window.dilations, steps, window.strides, strict=True)
        )
        columns.append(x[(slice(None), slice(None), *slices)])
    return np.stack(columns, axis=2).reshape(*x.shape[:2], len(columns), *steps)


def apply(layer: Layer, x: Array) -> Array:
    """What an ideal array computes for ``layer``."""
    if layer.window is None:
        return np.asarray(x @ layer.weight[0] + layer.bias, np.float32)
    cut = vectors(x, layer.window)
    batch, positions = x.shape[0], cut.shape[3:]
    grouped = cut.reshape(batch, layer.groups, layer.rows, -1)
    product = np.einsum("bgkp,gkn->bgnp", grouped, layer.weight.numpy())
    product = product.reshape(batch, layer.groups * layer.cols, -1) + layer.bias[:, None]
    return np.asarray(product.reshape(batch, -1, *positions), np.float32)


def run_plan(plan: Plan, inputs: dict[str, Array]) -> list[Array]:
    """Outputs of the partitioned graph, its array nodes computed from the layers."""
    layers = {layer.name: layer for layer in plan.layers}

    class ArrayNode(OpRun):
        op_domain = DOMAIN

        def _run(self, x: Array, layer: str | None = None) -> tuple[Array]:
            assert x.dtype == np.float32
            return (apply(layers[layer or ""], x),)

    ArrayNode.__name__ = ARRAY_OP
    evaluator = ReferenceEvaluator(ir.to_proto(plan.graph), new_ops=[ArrayNode])
    return list(evaluator.run(None, inputs))


def run_onnxruntime(model: onnx.ModelProto | Path, inputs: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options)
    return [np.asarray(result) for result in session.run(None, inputs)]


def compared(model: onnx.ModelProto | Path, tolerance: float = 1e-4, /, **inputs: Array) -> Plan:
    """Compile ``model`` and compare its outputs with ONNX Runtime's; returns the plan."""
    plan = partitioned(model)
    expected = run_onnxruntime(model, inputs)
    for left, right in zip(expected, run_plan(plan, inputs), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance)
    names = [node.attributes.get_string("layer") for node in array_nodes(plan.graph)]
    assert list(dict.fromkeys(names)) == [layer.name for layer in plan.layers]
    outputs = {node.outputs[0].name for node in array_nodes(plan.graph)}
    assert outputs >= {layer.output for layer in plan.layers}
    return plan


@pytest.fixture(scope="session")
def net() -> Callable[..., onnx.ModelProto]:
    """A model of the given nodes, inputs (name to shape) and weights."""
    return build_net


@pytest.fixture(scope="session")
def compiled() -> Callable[..., Plan]:
    """The partitioned plan of a model; ``digital`` are the globs kept off the array."""
    return partitioned


@pytest.fixture(scope="session")
def check() -> Callable[..., Plan]:
    """Compiles a model and compares its outputs with ONNX Runtime's; returns the plan."""
    return compared


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small work is faster on one thread, and this machine's others are left alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
