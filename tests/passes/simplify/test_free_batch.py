"""A batch dimension that the exporter fixed: freed where that is proved, else left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify

Array = np.ndarray[Any, Any]


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    constants: Mapping[str, Array] = {},
) -> onnx.ModelProto:
    """A model with input ``x`` of ``shape`` and output ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(found, strict_mode=True, data_prop=True)


def simplified(source: onnx.ModelProto) -> onnx.ModelProto:
    return ir.to_proto(Simplify()(load_model(source)).graph)


def first_dims(proto: onnx.ModelProto) -> list[int | str]:
    """Dimension 0 of input and output: a number, or a name where it is free."""
    dims = [v.type.tensor_type.shape.dim[0] for v in (*proto.graph.input, *proto.graph.output)]
    return [dim.dim_param or dim.dim_value for dim in dims]


def run(proto: onnx.ModelProto, x: Array) -> Array:
    session = ort.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


def normal(*shape: int) -> Array:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def int64(*values: int) -> Array:
    return np.array(values, np.int64)


def node(op: str, *inputs: str, **attributes: Any) -> list[NodeProto]:
    """``y = op(x, …)``, a Relu before it so that the op never stands alone."""
    return [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(op, ["r", *inputs], ["y"], **attributes),
    ]


def named(op: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], **attributes)


ATTENTION = [
    named("MatMul", "x w", "a"),
    named("Reshape", "a heads", "b"),
    named("Transpose", "b", "q", perm=[0, 2, 1, 3]),
    named("Transpose", "b", "k", perm=[0, 2, 3, 1]),
    named("MatMul", "q k", "s"),
    named("Softmax", "s", "p", axis=-1),
    named("MatMul", "p q", "o"),
    named("Transpose", "o", "t", perm=[0, 2, 1, 3]),
    named("Reshape", "t joined", "u"),
    named("LayerNormalization", "u scale", "n", axis=-1),
    named("Add", "n x", "z"),
    named("ReduceMean", "z one", "y", keepdims=0),
]

Case = tuple[Sequence[NodeProto], Sequence[int], Mapping[str, Array]]


def proved(b: int) -> dict[str, Case]:
    """Networks that treat their ``b`` samples apart."""
    return {
        "reshape to [b, -1]": (node("Reshape", "t"), (b, 3, 4), {"t": int64(b, -1)}),
        "reshape to [-1, 12]": (node("Reshape", "t"), (b, 3, 4), {"t": int64(-1, 12)}),
        "reshape to [0, -1]": (node("Reshape", "t"), (b, 3, 4), {"t": int64(0, -1)}),
        "reshape, zeros allowed": (
            node("Reshape", "t", allowzero=1), (b, 3, 4), {"t": int64(b, 12)},
        ),
        "flatten": (node("Flatten"), (b, 3, 4), {}),
        "reduced without its axis": (
            node("ReduceSum", "a", keepdims=0), (b, 3, 4), {"a": int64(-1)},
        ),
        "broadcast constant": (node("Add", "c"), (b, 3, 4), {"c": normal(1, 3, 4)}),
        "convolution": (node("Conv", "w"), (b, 3, 5, 5), {"w": normal(4, 3, 3, 3)}),
        "gemm": (node("Gemm", "w", "c"), (b, 3), {"w": normal(3, 5), "c": normal(5)}),
        "resize by scales": (
            node("Resize", "", "s"), (b, 3, 4, 4), {"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        "gather of another axis": (node("Gather", "i", axis=1), (b, 3, 4), {"i": int64(2, 0)}),
        "slice of another axis": (
            node("Slice", "s", "e", "a"), (b, 3, 4), {"s": int64(1), "e": int64(3), "a": int64(2)},
        ),
        "pad of other axes": (node("Pad", "p"), (b, 3, 4), {"p": int64(0, 1, 0, 0, 0, 2)}),
        "attention": (
            ATTENTION, (b, 3, 4),
            {"w": normal(4, 4), "heads": int64(b, 3, 2, 2), "joined": int64(b, 3, 4),
             "scale": normal(4), "one": int64(1)},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", proved(1))
def test_a_proved_batch_is_freed_and_samples_stay_apart(case: str, batch: int) -> None:
    nodes, shape, constants = proved(batch)[case]
    source = model(nodes, shape, constants)
    free = simplified(source)
    assert first_dims(free) == ["N", "N"]
    onnx.checker.check_model(free, full_check=True)
    x = normal(3 * batch, *shape[1:])
    wanted = np.concatenate([run(source, part) for part in np.split(x, 3)])
    np.testing.assert_allclose(run(free, x), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(free, x[:1])[0], wanted[0], rtol=1e-5, atol=1e-6)


#: None of these computes sample by sample, or not provably.
UNPROVED = {
    "joins samples": (node("Reshape", "t"), (2, 3, 4), {"t": int64(6, 4)}),
    "folds samples into rows": (node("Reshape", "t"), (2, 4, 4), {"t": int64(-1)}),
    "swaps samples with channels": (node("Transpose", perm=[1, 0, 2]), (2, 3, 4), {}),
    "flattens all": (node("Flatten", axis=2), (2, 3, 4), {}),
    "averages samples": (node("ReduceMean", "a"), (2, 3, 4), {"a": int64(0)}),
    "averages all": (node("ReduceMean"), (2, 3, 4), {}),
    "normalizes over samples": (node("Softmax", axis=0), (2, 3), {}),
    "a constant a sample": (node("Add", "c"), (2, 3), {"c": normal(2, 3)}),
    "joins a constant": (node("Concat", "c", axis=1), (1, 3, 4), {"c": normal(1, 1, 4)}),
    "takes some samples": (node("Gather", "i", axis=0), (2, 3), {"i": int64(1, 0)}),
    "slices samples": (node("Slice", "s", "e"), (3, 4), {"s": int64(0), "e": int64(2)}),
    "pads samples": (node("Pad", "p"), (2, 3), {"p": int64(1, 0, 0, 0)}),
    "repeats samples": (node("Tile", "t"), (2, 3), {"t": int64(2, 1)}),
    "resizes by sizes": (node("Resize", "", "", "s"), (1, 2, 4, 4), {"s": int64(1, 2, 8, 8)}),
    "sums over samples": (node("MatMul", "x"), (3, 3), {}),
    "transposed gemm": (node("Gemm", "w", transA=1), (3, 2), {"w": normal(3, 5)}),
    "runs along samples": (node("CumSum", "a"), (2, 3), {"a": np.array(0, np.int64)}),
}


@pytest.mark.parametrize("case", UNPROVED)
def test_what_cannot_be_proved_stays_fixed(case: str) -> None:
    nodes, shape, constants = UNPROVED[case]
    source = model(nodes, shape, constants)
    kept = simplified(source)
    assert first_dims(kept) == first_dims(source)
    np.testing.assert_allclose(run(kept, normal(*shape)), run(source, normal(*shape)), rtol=1e-5)


def test_a_free_batch_and_names_of_other_dimensions_stay() -> None:
    free = simplified(model(node("Flatten"), ("batch", 3, 4)))
    assert first_dims(free) == ["batch", "batch"]
    mixed = simplified(model(node("Abs"), (1, 3, "N")))
    assert first_dims(mixed) == ["N#2", "N#2"]
    assert mixed.graph.input[0].type.tensor_type.shape.dim[2].dim_param == "N"


def test_a_target_that_two_nodes_share_is_rewritten_for_each() -> None:
    nodes = [
        named("Relu", "x", "r"),
        named("Reshape", "r t", "a"),
        named("Neg", "x", "n"),
        named("Reshape", "n t", "b"),
        named("Mul", "a b", "y"),
    ]
    source = model(nodes, (1, 3, 4), {"t": int64(1, -1)})
    free = simplified(source)
    x = normal(4, 3, 4)
    wanted = np.concatenate([run(source, part) for part in np.split(x, 4)])
    np.testing.assert_allclose(run(free, x), wanted, rtol=1e-6)
