"""What makers make, and how they trim models."""

from __future__ import annotations

import io

import numpy as np
import onnx
from onnx import TensorProto, helper

from pimc.zoo.made import Made, fixed, with_outputs


def test_the_same_arrays_make_the_same_bytes() -> None:
    made = Made(b"model", {"x": np.arange(6)}, {"x": np.arange(3)}, "scale = 2.0\n")
    files = made.files()
    assert set(files) == {"model.onnx", "calib.npz", "test.npz", "data.toml"}
    assert files == made.files()
    with np.load(io.BytesIO(files["calib.npz"])) as arrays:
        assert (arrays["x"] == np.arange(6)).all()
    assert "data.toml" not in Made(b"", {}, {}).files()


def test_sizes_are_fixed_behind_a_free_batch() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Neg", ["r"], ["n"]),
        helper.make_node("Abs", ["r"], ["a"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["A", 3, "B", "C"])],
        [value(name, TensorProto.FLOAT, ["A", 3, "B", "C"]) for name in ("n", "a")],
    )  # fmt: skip
    model = fixed(helper.make_model(graph), {"x": (3, 8, 9)})
    dims = model.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", 3, 8, 9]
    mean = helper.make_node("ReduceMean", ["n"], ["m"], keepdims=0)
    trimmed = with_outputs(model, [value("m", TensorProto.FLOAT, [])], [mean])
    onnx.checker.check_model(trimmed)
    assert [node.op_type for node in trimmed.graph.node] == ["Relu", "Neg", "ReduceMean"]
