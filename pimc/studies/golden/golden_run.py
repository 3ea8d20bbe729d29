"""ONNX networks run by those who define what they mean: ONNX Runtime, or ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from pimc.errors import ModelError

__all__ = ["golden_outputs", "outputs_in_batches", "products_saturate"]

#: What a network gives: an array, or a list of arrays for a sequence.
Output = Any
Values = Mapping[str, npt.NDArray[Any]]

#: Operators that multiply codes of eight bits.
_CODE_PRODUCTS = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)


def outputs_in_batches(model: onnx.ModelProto, inputs: Values, where: str) -> dict[str, Output]:
    """Outputs of a model; one that takes a fixed number of samples gets so many a run.

    Raises:
        ModelError: the model cannot be run on these inputs.
    """
    size = _fixed_batch(model)
    samples = max((len(x) for x in inputs.values() if x.ndim), default=0)
    if size in (0, samples) or not samples:
        return golden_outputs(model, inputs, where)
    # The last run is filled up with samples from the front.
    order = np.arange(-(-samples // size) * size) % samples
    runs = [
        golden_outputs(model, {n: x[part] if x.ndim else x for n, x in inputs.items()}, where)
        for part in np.split(order, len(order) // size)
    ]
    return {name: np.concatenate([run[name] for run in runs])[:samples] for name in runs[0]}


def _fixed_batch(model: onnx.ModelProto) -> int:
    """Dimension 0 of the inputs where it is the same number for all, else 0."""
    constants = {tensor.name for tensor in model.graph.initializer}
    sizes = {
        max(0, value.type.tensor_type.shape.dim[0].dim_value)
        for value in model.graph.input
        if value.name not in constants and value.type.tensor_type.shape.dim
    }
    return sizes.pop() if len(sizes) == 1 else 0


def golden_outputs(model: onnx.ModelProto, inputs: Values, where: str) -> dict[str, Output]:
    """Outputs of a model by name.

    ONNX Runtime runs it, without its optimizer: fused operators round in another order. Where its
    products of codes saturate on this processor, ONNX's reference evaluator runs what has some.

    Raises:
        ModelError: the model cannot be run on these inputs.
    """
    if _has_code_products(model.graph) and products_saturate():
        found = _by_reference(model, inputs)
        if found is not None:
            return found
    try:
        return _by_onnxruntime(model, inputs)
    except Exception as cause:  # ONNX Runtime raises classes of its own
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise ModelError(
            f"ONNX Runtime cannot run it on these inputs: {reason}",
            where=where,
            hint="give inputs that fit with --data",
        ) from cause


def _by_onnxruntime(model: onnx.ModelProto, inputs: Values) -> dict[str, Output]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [arg.name for arg in session.get_outputs()]
    feed = {arg.name: inputs[arg.name] for arg in session.get_inputs() if arg.name in inputs}
    return dict(zip(names, session.run(None, feed), strict=True))


def _by_reference(model: onnx.ModelProto, inputs: Values) -> dict[str, Output] | None:
    """The same by ONNX's evaluator; None where it does not know an operator."""
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model)
        feed = {name: inputs[name] for name in evaluator.input_names if name in inputs}
        return dict(zip(evaluator.output_names, evaluator.run(None, feed), strict=True))
    except Exception:  # whatever an operator that it does not know ends with
        return None


def _has_code_products(graph: onnx.GraphProto) -> bool:
    return any(
        node.op_type in _CODE_PRODUCTS
        or any(
            _has_code_products(body)
            for attribute in node.attribute
            for body in (attribute.g, *attribute.graphs)
        )
        for node in graph.node
    )


@cache
def products_saturate() -> bool:
    """Whether ONNX Runtime's products of uint8 and int8 saturate on this processor.

    Without an instruction that adds four products in 32 bits, two are added in 16 bits.
    """
    rows = 64
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(np.full((rows, 16), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = _by_onnxruntime(model, {"x": np.full((1, rows), 255, np.uint8)})["y"]
    return bool((found != rows * 255 * 127).any())
