"""What ONNX Runtime takes is taken, and what no one can run is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pimc
from pimc.errors import ModelError
from pimc.passes.graph.frontend import load_model
from pimc.studies.golden.verify import verify_drawn

WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def product(
    batch: int | str = "N", *initializers: onnx.TensorProto, functions: Any = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        list(initializers),
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("loc", 1)],
        ir_version=8,
        functions=list(functions),
    )


def refused(model: onnx.ModelProto | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(model)
    return str(caught.value)


def test_a_dimension_below_zero_is_free() -> None:
    model = product(-1, numpy_helper.from_array(WEIGHT, "w"))
    calib = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    image = pimc.compile(model, calib=calib)
    (y,) = pimc.Session(image).run(None, {"x": calib[:7]})
    assert y.shape == (7, 3)


def sparse(
    indices: np.ndarray, values: tuple[float, ...] = (1.0, -2.0, 3.0), dims: tuple = (4, 3)
) -> onnx.ModelProto:
    model = product()
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(np.asarray(values, np.float32), "w"),
            numpy_helper.from_array(indices.astype(np.int64), "places"),
            list(dims),
        )
    )
    return model


@pytest.mark.parametrize(
    "indices", [np.array([0, 5, 11]), np.array([[0, 0], [1, 2], [3, 2]])], ids=["linear", "by axis"]
)
def test_sparse_initializers_are_what_onnxruntime_takes_them_for(indices: np.ndarray) -> None:
    model = sparse(indices)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    golden = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    weight = load_model(model).graph.graph.initializers["w"].const_value
    assert weight is not None
    assert np.allclose(x @ weight.numpy(), golden, atol=1e-6)


@pytest.mark.parametrize(
    ("indices", "dims"),
    [
        (np.array([0, 5, 12]), (4, 3)),
        (np.array([0, -1, 2]), (4, 3)),
        (np.array([0, 5]), (4, 3)),
        (np.array([[0, 0], [1, 2], [4, 0]]), (4, 3)),
        (np.array([0, 5, 11]), (1 << 40, 1 << 20)),
        (np.array([0, 5, 11]), (-4, 3)),
    ],
)
def test_malformed_sparse_initializers_are_refused(indices: np.ndarray, dims: tuple) -> None:
    assert "sparse initializer w is malformed" in refused(sparse(indices, dims=dims))


def function(name: str, calls: str) -> onnx.FunctionProto:
    node = helper.make_node(calls, ["a"], ["b"], domain="loc")
    return helper.make_function("loc", name, ["a"], ["b"], [node], [helper.make_opsetid("loc", 1)])


@pytest.mark.parametrize(
    "functions", [[function("F", "F")], [function("F", "G"), function("G", "F")]]
)
def test_functions_that_call_themselves_are_refused(functions: list[onnx.FunctionProto]) -> None:
    model = product("N", numpy_helper.from_array(WEIGHT, "w"), functions=functions)
    message = refused(model)
    assert "call each other in a circle" in message
    assert all(f"loc.{f.name}" in message for f in functions)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"location": "a\0b"}, "no file's name"),
        ({"location": ""}, "no file's name"),
        ({"location": "w.bin", "offset": "abc"}, "no number"),
        ({"location": "w.bin", "length": "-4"}, "no number"),
        ({"location": "w.bin", "offset": "9" * 40}, "no number"),
    ],
)
def test_external_data_at_no_place_are_refused(
    tmp_path: Path, entries: dict[str, str], problem: str
) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "net.onnx"
    path.write_bytes(product("N", tensor).SerializeToString())
    message = refused(path)
    assert "external data of w cannot be used" in message
    assert problem in message


def classifier() -> onnx.ModelProto:
    """What scikit-learn's exporter writes."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=1),
        helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]
    probabilities = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    output = helper.make_value_info("y", helper.make_sequence_type_proto(probabilities))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [output],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_a_map_of_probabilities_is_the_tensor_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(classifier(), path)
    (note,) = load_model(path).notes
    assert "ZipMap y" in note
    chip = pimc.Chip.load("generic-128").with_(
        **{"cell.levels": 4096, "adc.bits": 12, "dac.bits": 12, "read_noise.relative": 0.0}
    )
    image = pimc.compile(path, chip)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    (y,) = pimc.Session(image).run(None, {"x": x})
    golden = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    assert np.allclose(y, [[row[label] for label in range(3)] for row in golden], atol=0.01)
    assert verify_drawn(image, 4, 0, model=path).ok


def test_other_maps_are_refused() -> None:
    model = classifier()
    model.graph.node[2].op_type = "Identity"
    model.graph.node[2].domain = ""
    del model.graph.node[2].attribute[:]
    assert "y is a map" in refused(model)
