"""Operators in NumPy give what those in torch give, both in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pimc.errors import ModelError
from pimc.passes.calibrate.network import run, unknown_in
from pimc.passes.calibrate.operators import OPERATORS
from pimc.plan.records import ARRAY_OP, DOMAIN
from pimc.runtime.graph.executor import Executor

X = np.random.default_rng(3).standard_normal((2, 6, 5, 4)).astype(np.float32)
MATRIX = X.reshape(12, 20)
POOL = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def real(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


#: Operator, its inputs, its attributes, and the opset if it is not 17.
CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Pad", [X, ints(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "wrap"}, 19),
    ("Slice", [X, ints(-100), ints(-1000), ints(2), ints(-1)], {}, 17),
    ("ReduceMean", [ints(-5, -4, -3, -2)], {}, 17),
    ("Gemm", [ints(1, 2, 3, 4).reshape(2, 2), ints(1, 0, 2, 1).reshape(2, 2)], {"alpha": 2.0}, 17),
    ("Abs", [X], {}, 17),
    ("Add", [X, real(6, 1, 1)], {}, 17),
    ("AveragePool", [X], POOL, 17),
    ("AveragePool", [X], POOL | {"count_include_pad": 1}, 17),
    ("AveragePool", [X], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "ceil_mode": 0}, 17),
    ("AveragePool", [X], {"kernel_shape": [2, 2], "dilations": [2, 1]}, 19),
    ("BatchNormalization", [X, real(6), real(6), real(6), real(6) ** 2], {"epsilon": 0.01}, 17),
    ("Cast", [X], {"to": TensorProto.INT64}, 17),
    ("Cast", [ints(1, 0)], {"to": TensorProto.FLOAT}, 17),
    ("Cast", [X], {"to": TensorProto.BOOL, "saturate": 1}, 19),
    ("Clip", [X, np.float32(-0.5), np.float32(1)], {}, 17),
    ("Clip", [X, None, np.float32(0.3)], {}, 17),
    ("Concat", [X, X[:, :2]], {"axis": 1}, 17),
    ("Conv", [X, real(4, 3, 3, 2), real(4)], {"group": 2, "pads": [1, 0, 2, 1]}, 17),
    ("Conv", [X, real(6, 1, 2, 2)], {"group": 6, "auto_pad": "SAME_LOWER", "strides": [2, 1]}, 17),
    ("Div", [X, real(4)], {}, 17),
    ("Div", [ints(7, -7, 7, -7), ints(2, 2, -2, -2)], {}, 17),
    ("Dropout", [X], {}, 17),
    ("Flatten", [X], {"axis": 2}, 17),
    ("Flatten", [X], {"axis": 0}, 17),
    ("Flatten", [X[:0]], {}, 17),
    ("Gather", [X, ints(1, -1)], {"axis": 2}, 17),
    ("Gemm", [MATRIX, real(3, 20), real(3)], {"transB": 1, "alpha": 0.5, "beta": 2.0}, 17),
    ("Gemm", [MATRIX, real(12, 3)], {"transA": 1}, 17),
    ("GlobalAveragePool", [X], {}, 17),
    ("GlobalMaxPool", [X], {}, 17),
    ("HardSigmoid", [X], {"alpha": 0.3}, 17),
    ("HardSwish", [5 * X], {}, 17),
    ("Identity", [X], {}, 17),
    ("LeakyRelu", [X], {"alpha": 0.1}, 17),
    ("MatMul", [X, real(4, 3)], {}, 17),
    ("MaxPool", [X], POOL, 17),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 1], "storage_order": 0}, 17),
    ("Mul", [X, X[:, :1]], {}, 17),
    ("Neg", [X], {}, 17),
    ("Pad", [X, ints(0, 1, 2, 0, 0, 0, 1, 3), np.float32(1.5)], {}, 17),
    ("Pad", [X, ints(0, -1, 0, 1, 0, 0, -2, 0)], {}, 17),
    ("Pad", [X, ints(0, 0, 2, 1, 0, 0, 1, 3)], {"mode": "reflect"}, 17),
    ("Pad", [X, ints(0, 0, 2, 1, 0, 0, 1, 3)], {"mode": "edge"}, 17),
    ("Pad", [X, ints(1, 2), None, ints(-1)], {}, 18),
    ("ReduceMean", [X], {"axes": [2, 3], "keepdims": 0}, 17),
    ("ReduceMean", [X], {}, 17),
    ("ReduceMean", [X, ints(-1)], {}, 18),
    ("ReduceMean", [X], {"noop_with_empty_axes": 1}, 18),
    ("Relu", [X], {}, 17),
    ("Reshape", [X, ints(0, -1, 2)], {}, 17),
    ("Shape", [X], {"start": 1, "end": -1}, 17),
    ("Sigmoid", [300 * X], {}, 17),
    ("Slice", [X, ints(1, -1), ints(9, -99), ints(1, 3), ints(2, -1)], {}, 17),
    ("Slice", [X, ints(1), ints(2)], {}, 17),
    ("Softmax", [100 * X], {"axis": 1}, 17),
    ("Squeeze", [X[:, :1], ints(1)], {}, 17),
    ("Squeeze", [X[:1, :1]], {}, 17),
    ("Sub", [X, real(5, 4)], {}, 17),
    ("Tanh", [X], {}, 17),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}, 17),
    ("Transpose", [X], {}, 17),
    ("Unsqueeze", [X, ints(1, -1)], {}, 17),
]


def model_of(op: str, inputs: list[Any], attributes: dict[str, Any], opset: int) -> ir.Model:
    """The operator, and behind it a layer of the array that gets what it gives."""
    names = ["x"] + [f"c{n}" if value is not None else "" for n, value in enumerate(inputs[1:])]
    first = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    graph = helper.make_graph(
        [
            helper.make_node(op, names, ["made"], **attributes),
            helper.make_node(ARRAY_OP, ["made"], ["y"], domain=DOMAIN, layer="end"),
        ],
        "net",
        [helper.make_tensor_value_info("x", first, inputs[0].shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, n) for n, v in zip(names, inputs, strict=True) if n[:1] == "c"],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    proto: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return ir.from_proto(proto)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"), CASES, ids=[case[0] for case in CASES]
)
def test_an_operator_gives_what_it_gives_in_torch(op, inputs, attributes, opset) -> None:
    model = model_of(op, inputs, attributes, opset)
    assert unknown_in(model) is None
    seen: list[Any] = []

    def array(node: ir.Node, x: Any) -> Any:
        seen.append(x)
        return x

    run(model, {"x": inputs[0]}, array)
    feed = torch.from_numpy(inputs[0].copy())
    feed = feed.double() if feed.is_floating_point() else feed
    Executor(model, array=array, dtype=torch.float64).run({"x": feed})
    ours, theirs = seen[0], seen[1].numpy()
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_every_operator_of_the_table_has_a_case_and_is_in_the_docs() -> None:
    assert {case[0] for case in CASES} == OPERATORS.keys()
    text = (Path(__file__).parents[3] / "docs" / "install.md").read_text()
    (told,) = (line for line in text.splitlines() if line.startswith("> Abs"))
    assert told == "> " + ", ".join(sorted({*OPERATORS, "Constant"}))


def test_a_node_with_more_inputs_than_are_taken_is_left_to_torch() -> None:
    model = model_of("Dropout", [X, np.float32(0.5), np.bool_(True)], {}, 17)
    assert unknown_in(model) == "the operator Dropout"


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_a_window_larger_than_its_input_is_refused(op) -> None:
    model = model_of(op, [X], {"kernel_shape": [7, 7]}, 17)
    with pytest.raises(ModelError, match=r"a window of \[7, 7\] is larger than its inputs"):
        run(model, {"x": X}, lambda node, x: x)
