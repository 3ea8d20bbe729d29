"""Large weights behind operators are worked out part by part, and are what ONNX Runtime has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc import api
from pimc.chip.design import Chip
from pimc.files.weights.packing import pack_levels
from pimc.files.weights.stored import Dequantized, Packed
from pimc.passes.simplify import deferred
from pimc.passes.simplify.deferred import DeferredTensor
from pimc.plan.records import Plan
from tests.passes.lowered_nets import golden, node

Array = np.ndarray[Any, Any]
CHIP = Chip.default().with_(**{"hierarchy.cores": 1024})
#: Just above the size from which a copy matters.
ROWS, COLS = 1030, 1040
RNG = np.random.default_rng(5)
NUMBERS = (RNG.standard_normal((ROWS, COLS)) * 0.02).astype(np.float32)
CODES = RNG.integers(-127, 128, (ROWS, COLS)).astype(np.int8)
BYTES = (CODES.astype(np.int16) + 128).astype(np.uint8)


def scales(*shape: int) -> Array:
    return RNG.uniform(0.001, 0.01, shape).astype(np.float32)


def zeros(*shape: int) -> Array:
    return RNG.integers(100, 150, shape).astype(np.uint8)


def net(nodes: list[onnx.NodeProto], weights: Mapping[str, Array], *, rows: int = ROWS) -> Any:
    product = nodes[-1]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, ["N", rows])],
        [helper.make_tensor_value_info(product.output[0], kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def partitioned(model: onnx.ModelProto) -> Plan:
    return api.plan(model, CHIP, stop_after="partition")


def dequantize(**attributes: Any) -> list[onnx.NodeProto]:
    names = ["q", "s", *(["z"] if attributes.pop("zero", 0) else [])]
    return [node("DequantizeLinear", names, ["w"], **attributes)]


PRODUCT = node("MatMul", ["x", "w"], ["y"])
TURNED = [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])]
CASES: Mapping[str, tuple[list[onnx.NodeProto], dict[str, Array], int]] = {
    "identity": ([node("Identity", ["v"], ["w"]), PRODUCT], {"v": NUMBERS}, ROWS),
    "cast": (
        [node("Cast", ["v"], ["w"], to=TensorProto.FLOAT), PRODUCT],
        {"v": NUMBERS.astype(np.float16)},
        ROWS,
    ),
    "cast and transpose": (
        [node("Cast", ["v"], ["w"], to=TensorProto.FLOAT), *TURNED],
        {"v": NUMBERS.astype(np.float16)},
        COLS,
    ),
    "transpose": (TURNED, {"w": NUMBERS}, COLS),
    "one scale": ([*dequantize(), PRODUCT], {"q": CODES, "s": scales()}, ROWS),
    "by column": (
        [*dequantize(axis=1, zero=1), PRODUCT],
        {"q": BYTES, "s": scales(COLS), "z": zeros(COLS)},
        ROWS,
    ),
    "by row": (
        [*dequantize(axis=0, zero=1), PRODUCT],
        {"q": BYTES, "s": scales(ROWS), "z": zeros(ROWS)},
        ROWS,
    ),
    "by row and transposed": (
        [*dequantize(axis=-2), *TURNED],
        {"q": CODES, "s": scales(ROWS)},
        COLS,
    ),
    "in blocks": (
        [*dequantize(axis=0, zero=1, block_size=103), PRODUCT],
        {"q": BYTES, "s": scales(10, COLS), "z": zeros(10, COLS)},
        ROWS,
    ),
    "in uneven blocks": (
        [*dequantize(axis=1, block_size=100), PRODUCT],
        {"q": CODES, "s": scales(ROWS, 11)},
        ROWS,
    ),
    "by the axis of old": (
        [*dequantize(), PRODUCT],
        {"q": CODES, "s": scales(COLS)},
        ROWS,
    ),
    "transposed by Gemm": (
        [*dequantize(axis=1), node("Gemm", ["x", "w"], ["y"], transB=1, alpha=0.5)],
        {"q": CODES, "s": scales(COLS)},
        COLS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_weight_is_what_the_network_computes(name: str) -> None:
    nodes, weights, rows = CASES[name]
    model = net(nodes, weights, rows=rows)
    (layer,) = partitioned(model).layers
    wanted = golden(model, {"x": np.eye(rows, dtype=np.float32)})[0]
    np.testing.assert_allclose(layer.weight.numpy()[0], wanted, rtol=1e-5, atol=1e-6)
    source = layer.weight.source
    if "s" in weights:
        assert isinstance(source, Dequantized)
        assert isinstance(source.codes, np.ndarray)
        assert source.codes.itemsize == 1
    else:
        assert isinstance(source, np.ndarray)
        assert not source.flags.owndata  # a view of what the model holds
        assert source.dtype == next(iter(weights.values())).dtype


@pytest.mark.parametrize("name", CASES)
def test_the_image_is_that_of_a_weight_in_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, weights, rows = CASES[name]
    model = net(nodes, weights, rows=rows)
    image = api.compile(model, CHIP)
    monkeypatch.setattr(deferred, "_LARGE", 1 << 30)
    copied = api.compile(model, CHIP)
    assert image.to_bytes() == copied.to_bytes()


@pytest.mark.parametrize("op", ["MatMulInteger", "QLinearMatMul"])
def test_products_of_integers(op: str) -> None:
    codes = {"w": BYTES, "wz": zeros()}
    if op == "MatMulInteger":
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            node("MatMulInteger", ["xq", "w", "xz", "wz"], ["n"]),
            node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
        ]
    else:
        codes |= {"xs": scales(), "xz": zeros(), "ws": scales(), "ys": scales(), "yz": zeros()}
        nodes = [
            node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
            node(op, ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["yq"]),
            node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
        ]
    (layer,) = partitioned(net(nodes, codes)).layers
    assert isinstance(layer.weight.source, Dequantized)
    unit = float(codes.get("ws", np.float32(1)))
    wanted = (BYTES.astype(np.float32) - float(codes["wz"])) * np.float32(unit)
    np.testing.assert_allclose(layer.weight.numpy()[0], wanted, rtol=1e-6)
    assert layer.name == "w"


@pytest.mark.parametrize("turn", [True, False])
@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
@pytest.mark.parametrize("external", [True, False])
def test_codes_of_four_bits(kind: str, external: bool, turn: bool, tmp_path: Path) -> None:
    low = -8 if kind == "INT4" else 0
    whole = RNG.integers(low, low + 16, (ROWS, COLS))
    blocks = scales(ROWS // 103, COLS)
    nodes = [*dequantize(axis=0, block_size=103), *(TURNED if turn else [PRODUCT])]
    model = net(nodes, {"s": blocks}, rows=COLS if turn else ROWS)
    data = pack_levels((whole % 16).astype(np.uint16), 4).tobytes()
    codes = helper.make_tensor("q", getattr(TensorProto, kind), whole.shape, data, raw=True)
    model.graph.initializer.append(codes)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=external, size_threshold=0)
    (layer,) = api.plan(path, CHIP, stop_after="partition").layers
    wanted = whole.astype(np.float32) * blocks.repeat(103, axis=0)
    np.testing.assert_allclose(layer.weight.numpy()[0], wanted.T if turn else wanted, rtol=1e-6)
    source = layer.weight.source
    assert isinstance(source, Dequantized)
    assert isinstance(source.codes, Packed) is external


def test_a_narrower_type_rounds_and_is_computed() -> None:
    nodes = [
        node("Cast", ["v"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["w"], to=TensorProto.FLOAT),
        PRODUCT,
    ]
    (layer,) = partitioned(net(nodes, {"v": NUMBERS})).layers
    np.testing.assert_array_equal(layer.weight.numpy()[0], NUMBERS.astype(np.float16))


def test_a_weight_used_twice_is_one_layer() -> None:
    nodes = [
        *dequantize(axis=1),
        node("MatMul", ["x", "w"], ["a"]),
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("MatMul", ["a", "t"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    plan = partitioned(net(nodes, {"q": CODES, "s": scales(COLS)}))
    assert [(layer.rows, layer.cols) for layer in plan.layers] == [(ROWS, COLS), (COLS, ROWS)]


def test_what_is_no_layer_is_computed_when_it_is_asked_for() -> None:
    """A table that rows are gathered from stays in the graph, with its numbers."""
    nodes = [
        *dequantize(axis=1),
        node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        node("Gather", ["w", "i"], ["g"]),
        node("MatMul", ["g", "m"], ["y"]),
    ]
    model = net(nodes, {"q": CODES, "s": scales(COLS), "m": NUMBERS.T[:, :2]}, rows=3)
    plan = partitioned(model)
    assert [layer.name for layer in plan.layers] == ["m"]
    table = plan.graph.graph.initializers["w"].const_value
    assert isinstance(table, DeferredTensor)
    stored = api.compile(model, CHIP).graph().graph.initializers["w"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy(), table.numpy())
    picked = {"x": np.array([[0, 5, 1029]], np.float32)}
    product = table.numpy()[[0, 5, 1029]] @ NUMBERS.T[:, :2]
    np.testing.assert_allclose(product, golden(model, picked)[0][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [7, 2 * COLS])
def test_scales_that_fit_no_axis_are_not_guessed(size: int) -> None:
    tensor = ir.Tensor(CODES)
    assert deferred.dequantized(tensor, scales(COLS), None, 1) is not None
    assert deferred.dequantized(tensor, scales(size), None, 1) is None
    assert deferred.dequantized(tensor, scales(COLS), zeros(size), 1) is None
