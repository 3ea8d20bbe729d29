"""Layers without rows and weights of any size compile."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pimc
from pimc.chip.design import Chip
from tests.passes.lowered_nets import model_of, node


def test_data_that_leave_a_layer_no_rows() -> None:
    """What the layer gets is as many rows as inputs are above 9: none in these data."""
    weight = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Greater", ["x", "big"], ["b"]),
        helper.make_node("NonZero", ["b"], ["n"]),
        helper.make_node("Transpose", ["n"], ["t"], perm=[1, 0]),
        helper.make_node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(9, np.float32), "big"),
            numpy_helper.from_array(weight, "w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    calib = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    image = pimc.compile(model, calib=calib)
    assert image.to_bytes() == pimc.compile(model, calib=calib).to_bytes()
    (y,) = pimc.Session(image).run(None, {"x": calib[:3]})
    assert y.shape == (0, 3)
    (y,) = pimc.Session(image).run(None, {"x": np.full((1, 4), 10.0, np.float32)})
    assert y.shape == (4, 3)


def test_rows_that_a_layer_gets_of_rounded_weights_alone() -> None:
    """No output of the float network lies above the limit; some of the rounded one do."""
    rng = np.random.default_rng(0)
    first, last = (rng.normal(size=s).astype(np.float32) for s in ((6, 1), (6, 3)))
    x = rng.normal(size=(40, 6)).astype(np.float32)
    above = np.float32((x @ first).max() + 1e-5)
    weights = {"w": first, "u": last, "above": above, "one": np.array([1])}
    looked = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Greater", ["a", "above"], ["g"]),
        node("Squeeze", ["g", "one"], ["some"]),
    ]
    rows = [node("Compress", ["x", "some"], ["r"], axis=0), node("MatMul", ["r", "u"], ["y"])]
    bodies = {
        key: helper.make_graph(
            [node("MatMul", ["x", weight], [f"{key} gives"])],
            key,
            [],
            [helper.make_tensor_value_info(f"{key} gives", TensorProto.FLOAT, None)],
        )
        for key, weight in (("then_branch", "u"), ("else_branch", "v"))
    }
    branches = [
        node("ReduceMax", ["a"], ["most"], keepdims=0),
        node("Greater", ["most", "above"], ["any"]),
        node("If", ["any"], ["y"], **bodies),
    ]
    for behind in (rows, branches):
        model = model_of([*looked, *behind], {"x": ["N", 6]}, weights | {"v": last})
        image = pimc.compile(model, calib=x)
        (layer,) = [one for one in image.layers if one.name == "u"]
        assert layer.input_scale is not None


@pytest.mark.parametrize("size", [1e20, 1e-20])
@pytest.mark.parametrize("with_data", [False, True])
def test_weights_of_any_size(size: float, with_data: bool) -> None:
    rng = np.random.default_rng(0)
    weight = (size * rng.normal(size=(8, 4))).astype(np.float32)
    x = (rng.normal(size=(40, 8)) / size).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    chip = Chip.default().with_(**{"cell.levels": 256, "read_noise.relative": 0.0})
    image = pimc.compile(model, chip, calib=x if with_data else None)
    assert 0 < image.layers[0].weight_error < 0.01
    (y,) = pimc.Session(image).run(None, {"x": x})
    golden = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.sqrt(np.mean((y - golden) ** 2) / np.mean(golden**2)) < 0.05


def test_few_samples_tell_no_spreads() -> None:
    """Fitted to those of two samples, what columns give of others would be further off."""
    weight = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 40]}, {"w": weight})
    x, others = np.random.default_rng(1).normal(size=(2, 400, 40)).astype(np.float32)
    error = {}
    for count in (1, 2):  # of one there is no spread
        image = pimc.compile(model, Chip.default().with_levels(4), calib=x[:count])
        (y,) = pimc.Session(image, converters=False).run(None, {"x": others})
        error[count] = np.square(y - others @ weight).mean()
    assert error[2] < 1.1 * error[1]
