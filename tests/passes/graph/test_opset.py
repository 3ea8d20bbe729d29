"""Models of every opset are read with the same meaning, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from pimc.errors import ModelError
from pimc.passes.graph.frontend import load_model
from tests.passes.graph.small_models import (
    images,
    run,
    save_external,
    small_model,
)

OLDEST_OPSET = 7

NEWEST_OPSET = onnx.defs.onnx_opset_version()


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset_is_read_with_the_same_meaning(opset: int) -> None:
    model = small_model(opset)
    plan = load_model(model)
    assert plan.graph.opset_imports[""] >= 13
    assert [value.name for value in plan.graph.graph.inputs] == ["x"]
    assert str(plan.graph.graph.inputs[0].shape) == "[N,3,8,8]"
    np.testing.assert_allclose(
        run(ir.to_proto(plan.graph), images()), run(model, images()), atol=1e-5
    )


def test_external_data_below_opset_13(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_external(small_model(9), path)
    plan = load_model(path)
    weight = plan.graph.graph.initializers["fc.weight"].const_value
    assert weight is not None
    expected = numpy_helper.to_array(small_model().graph.initializer[5])
    np.testing.assert_array_equal(weight.numpy(), expected)


@pytest.mark.parametrize("opset", [0, NEWEST_OPSET + 1])
def test_unknown_opset(opset: int) -> None:
    model = small_model()
    model.opset_import[0].version = opset
    with pytest.raises(ModelError, match=f"opset {opset} is unknown"):
        load_model(model)


def test_unknown_ir_version() -> None:
    model = small_model()
    model.ir_version = onnx.IR_VERSION + 1
    with pytest.raises(ModelError, match="IR version"):
        load_model(model)


def test_a_model_the_converter_cannot_handle() -> None:
    model = small_model(9)
    model.graph.node[2].op_type = "NoSuchOp"
    with pytest.raises(ModelError, match="opset 13 or newer"):
        load_model(model)


def test_the_long_name_of_the_onnx_domain() -> None:
    model = small_model()
    model.opset_import[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.domain = "ai.onnx"
    plan = load_model(model)
    assert plan.graph.opset_imports[""] == 17
    assert {node.domain for node in plan.graph.graph} == {""}
