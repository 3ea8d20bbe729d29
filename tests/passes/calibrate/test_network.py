"""What is run in NumPy follows from the network alone, and comes to the same image."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from pimc import api
from pimc.errors import ModelError
from pimc.passes.calibrate.network import run, unknown_in
from tests.passes.calibrate.test_operators import X, ints, model_of, real


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "told"),
    [
        ("Erf", [X], {}, "the operator Erf"),
        ("MaxPool", [X], {"kernel_shape": [2, 2], "ceil_mode": 1}, "the operator MaxPool"),
        ("AveragePool", [X], {"kernel_shape": [2, 2], "ceil_mode": 1}, "the operator AveragePool"),
        ("Cast", [X], {"to": TensorProto.FLOAT16}, "the operator Cast"),
        ("Add", [X.astype(np.float16), real(4).astype(np.float16)], {}, "values of type FLOAT16"),
    ],
    ids=str,
)
def test_what_is_not_known_is_told(op, inputs, attributes, told) -> None:
    assert unknown_in(model_of(op, inputs, attributes, 17)) == told


def test_an_operator_that_fails_says_on_what() -> None:
    model = model_of("Reshape", [X, ints(7, -1)], {}, 17)
    with pytest.raises(
        ModelError, match=r"operator Reshape failed on inputs of shape \[2, 6, 5, 4\]"
    ):
        run(model, {"x": X}, lambda node, x: x)


def test_an_error_of_a_layer_is_its_own() -> None:
    def array(node: ir.Node, x: np.ndarray) -> np.ndarray:
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        run(model_of("Relu", [X], {}, 17), {"x": X}, array)


def test_constants_and_values_that_nobody_uses() -> None:
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], value=value),
            helper.make_node("Mul", ["x", "c"], ["y"]),
            helper.make_node("Relu", ["y"], ["unused"]),
            helper.make_node("Array", ["y"], ["z"], domain="pimc", layer="end"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [3])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pimc", 1)]
    model = ir.from_proto(helper.make_model(graph, opset_imports=opsets))
    seen = []

    def array(node, x):
        seen.append(x)
        return x

    run(model, {"x": np.arange(3, dtype=np.float32)}, array)
    np.testing.assert_array_equal(seen[0], [0.0, 2.0, 4.0])


@pytest.mark.parametrize("chip", ["generic-128", "cmo"])
def test_an_image_has_the_same_bytes_if_torch_runs_the_network(
    tiny_model, tiny_inputs, chip, tmp_path, monkeypatch
) -> None:
    api.compile(tiny_model(), chip, calib=tiny_inputs).save(tmp_path / "numpy.pimc")
    monkeypatch.setattr(api, "unknown_in", lambda graph: "nothing")
    api.compile(tiny_model(), chip, calib=tiny_inputs).save(tmp_path / "torch.pimc")
    assert (tmp_path / "numpy.pimc").read_bytes() == (tmp_path / "torch.pimc").read_bytes()
