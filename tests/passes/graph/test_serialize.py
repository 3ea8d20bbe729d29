"""A graph as the bytes of one ONNX file: complete, the same each time, readable by anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.errors import ModelError
from pimc.passes.graph.frontend import load_model
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.simplify.deferred import DeferredTensor
from tests.passes.test_repeated_layers import branching

#: More bytes than are looked for in a file.
WIDE = 200


def wide() -> onnx.ModelProto:
    """One large product, and a constant of few bits."""
    weight = np.random.default_rng(0).standard_normal((WIDE, WIDE)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["u"]),
        helper.make_node("Add", ["u", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", WIDE])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(weight[0], "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def written(model: ir.Model) -> bytes:
    deferred = graph_bytes(model)
    data = deferred.array().tobytes()
    assert len(data) == deferred.nbytes
    return data


@pytest.mark.parametrize("make", [wide, branching])
def test_what_is_written_is_the_graph(make) -> None:
    plan = load_model(make())
    data = written(plan.graph)
    assert data == written(plan.graph)
    assert data == written(load_model(data).graph)
    assert data == ir.to_proto(plan.graph).SerializeToString(deterministic=True)


def test_external_data_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(wide(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = np.ones((2, WIDE), np.float32)
    (wanted,) = ort.InferenceSession(path).run(None, {"x": x})
    data = written(load_model(path).graph)
    (tmp_path / "w.bin").unlink()
    (found,) = ort.InferenceSession(data).run(None, {"x": x})
    np.testing.assert_array_equal(found, wanted)


def test_data_that_is_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(wide(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    graph = load_model(path).graph
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match="external data can no longer be read") as caught:
        written(graph)
    assert caught.value.hint == "keep the data file in place until the command is done"


def test_what_is_worked_out_when_asked_for_is_written_out() -> None:
    model = load_model(wide()).graph
    source = np.arange(WIDE * WIDE, dtype=np.float32).reshape(1, WIDE, WIDE).swapaxes(1, 2)
    model.graph.initializers["w"].const_value = DeferredTensor(source, ir.DataType.FLOAT)
    found = onnx.ModelProto.FromString(written(model)).graph.initializer
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in found}
    np.testing.assert_array_equal(values["w"], source[0])


def test_the_graph_is_left_as_it_was() -> None:
    model = load_model(wide()).graph
    before = [value.const_value for value in model.graph.initializers.values()]
    written(model)
    assert [value.const_value for value in model.graph.initializers.values()] == before
