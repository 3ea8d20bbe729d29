"""Networks of every kind are verified: no false alarm, no value left out, no error let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pimc
from pimc.errors import ModelError
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from pimc.studies.golden import golden_run
from pimc.studies.golden.verify import Verification, verify, verify_drawn

RNG = np.random.default_rng(0)
WEIGHT = (RNG.normal(size=(8, 8)) / 3).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[Sequence[Any], int]],
    constants: dict[str, Any],
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, dtype, shape) for n, (shape, dtype) in inputs.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def verified(model: onnx.ModelProto, tmp_path: Path) -> Verification:
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return verify_drawn(pimc.compile(path), 4, 0, model=path)


def half() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["y"]),
    ]
    w, v = RNG.normal(size=(128, 32)) / 11, RNG.normal(size=(32, 8)) / 5
    constants = {"w": w.astype(np.float16), "v": v.astype(np.float16)}
    inputs = {"x": (["N", 128], TensorProto.FLOAT16)}
    return model_of(nodes, inputs, constants, TensorProto.FLOAT16)


def test_half_precision_is_held_to_what_it_can_hold(tmp_path: Path) -> None:
    found = verified(half(), tmp_path)
    assert found.ok, found.first_diverging
    assert max(entry.tolerance for entry in found.comparisons if entry.part != "network") < 0.005


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["s", "w"], ["t"]),
            helper.make_node("Tanh", ["t"], ["so"]),
            helper.make_node("Identity", ["c"], ["co"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N", 8]),
        ],
        [
            helper.make_tensor_value_info("co", TensorProto.BOOL, []),
            helper.make_tensor_value_info("so", TensorProto.FLOAT, ["N", 8]),
        ],
    )
    node = helper.make_node("Loop", ["M", "", "x"], ["y"], body=body)
    inputs = {"M": ([], TensorProto.INT64), "x": (["N", 8], TensorProto.FLOAT)}
    return model_of([node], inputs, {"w": WEIGHT})


def padded() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], mode="reflect"),
        helper.make_node("Conv", ["p", "k"], ["y"]),
    ]
    kernel = RNG.normal(size=(2, 3, 3, 3)).astype(np.float32)
    pads = np.array([0, 0, 20, 20, 0, 0, 20, 20])
    inputs = {"x": (["N", 3, "H", "W"], TensorProto.FLOAT)}
    return model_of(nodes, inputs, {"pads": pads, "k": kernel})


def lstm(lengths: bool = True) -> onnx.ModelProto:
    names = ["x", "W", "R", "B", *(["lengths"] if lengths else [])]
    nodes = [
        helper.make_node("LSTM", names, ["h"], hidden_size=5),
        helper.make_node("Squeeze", ["h", "one"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = {
        "W": RNG.normal(size=(1, 20, 4)).astype(np.float32),
        "R": RNG.normal(size=(1, 20, 5)).astype(np.float32),
        "B": RNG.normal(size=(1, 40)).astype(np.float32),
        "one": np.array([1]),
        "v": RNG.normal(size=(5, 3)).astype(np.float32),
    }
    inputs: dict[str, tuple[Sequence[Any], int]] = {"x": ([7, "N", 4], TensorProto.FLOAT)}
    if lengths:
        inputs["lengths"] = (["N"], TensorProto.INT32)
    return model_of(nodes, inputs, constants)


def sequence() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("SequenceConstruct", ["t", "x"], ["y"]),
    ]
    model = model_of(nodes, {"x": (["N", 8], TensorProto.FLOAT)}, {"w": WEIGHT})
    model.graph.output[0].CopyFrom(
        helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    )
    return model


def negative_batch() -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model_of([node], {"x": ([-1, 8], TensorProto.FLOAT)}, {"w": WEIGHT})


@pytest.mark.parametrize("made", [loop, padded, lstm, sequence, negative_batch])
def test_inputs_are_drawn_that_fit(made, tmp_path: Path) -> None:
    found = verified(made(), tmp_path)
    assert found.ok, found.first_diverging
    assert {"array", "network", "source"} <= {entry.part for entry in found.comparisons}


def test_every_layer_is_compared_also_those_in_bodies(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(lstm(), path)
    image = pimc.compile(path)
    found = verify_drawn(image, 4, 0)
    compared = [entry.name for entry in found.comparisons if entry.part == "array"]
    assert sorted(compared) == sorted(layer.name for layer in image.layers)
    assert len(compared) == 3


def test_a_wrong_layer_in_a_body_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pimc.runtime.crossbar import CrossbarLayer

    path = tmp_path / "net.onnx"
    onnx.save(lstm(), path)
    image = pimc.compile(path)
    inside = next(layer.name for layer in image.layers if layer.name.startswith("R"))
    call = CrossbarLayer.__call__

    def wrong(self: CrossbarLayer, x: Any) -> Any:
        y = call(self, x)
        return y * 1.01 if self.layer.name == inside else y

    monkeypatch.setattr(CrossbarLayer, "__call__", wrong)
    found = verify_drawn(image, 4, 0)
    assert found.first_diverging is not None
    assert (found.first_diverging.name, found.first_diverging.part) == (inside, "array")


def test_nan_is_equal_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pimc.runtime.crossbar import CrossbarLayer

    path = tmp_path / "net.onnx"
    onnx.save(half(), path)
    image = pimc.compile(path)
    call = CrossbarLayer.__call__

    def wrong(self: CrossbarLayer, x: Any) -> Any:
        y = call(self, x)
        return y * float("nan") if self.layer.name == "v" else y

    monkeypatch.setattr(CrossbarLayer, "__call__", wrong)
    found = verify_drawn(image, 4, 0)
    assert found.first_diverging is not None
    assert (found.first_diverging.name, found.first_diverging.part) == ("v", "array")


@pytest.mark.parametrize("divisor", ["zero", "x"])
def test_a_network_whose_outputs_are_no_numbers_has_no_result(divisor: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Sub", ["t", "t"], ["zero"]),
        helper.make_node("Div", ["x", divisor], ["z"]),
        helper.make_node("Add", ["z", "t"], ["y"]),
    ]
    model = model_of(nodes, {"x": (["N", 8], TensorProto.FLOAT)}, {"w": WEIGHT})
    if divisor == "x":  # finite, as long as no input is zero
        assert verified(model, tmp_path).ok
        return
    with pytest.raises(ModelError, match="of output y are NaN or infinite") as raised:
        verified(model, tmp_path)
    assert raised.value.where == "the golden network"


def test_what_converters_add_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(half(), path)
    fixed = {"adc.range": "fixed", "adc.full_scale_us": 600.0, "adc.bits": 12}
    wide = pimc.Chip.default().with_(**fixed)
    narrow = wide.with_(**{"adc.full_scale_us": 10.0})
    fine, coarse = (verify_drawn(pimc.compile(path, chip), 4, 0) for chip in (wide, narrow))
    assert fine.ok
    assert coarse.ok  # the same network: what is compared part by part leaves the ADC out
    assert fine.converted.saturation == {"w": 0.0, "v": 0.0}
    assert min(coarse.converted.saturation.values()) > 0.01
    assert fine.converted.relative_error < 0.1 < coarse.converted.relative_error


def in_training_mode(op: str) -> onnx.ModelProto:
    if op == "Dropout":
        node = helper.make_node("Dropout", ["t", "ratio", "mode"], ["y"])
        constants: dict[str, Any] = {"ratio": np.float32(0.5), "mode": np.bool_(True)}
    else:
        node = helper.make_node(
            "BatchNormalization", ["t", "s", "b", "m", "v"], ["y", "m2", "v2"], training_mode=1
        )
        constants = {name: np.abs(RNG.normal(size=8)).astype(np.float32) for name in "sbmv"}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), node]
    inputs: dict[str, tuple[Sequence[Any], int]] = {"x": (["N", 8], TensorProto.FLOAT)}
    return model_of(nodes, inputs, {"w": WEIGHT} | constants)


@pytest.mark.parametrize("op", ["Dropout", "BatchNormalization"])
def test_training_mode_is_taken_as_inference_and_said_to_be(op: str, tmp_path: Path) -> None:
    model = in_training_mode(op)
    assert verified(model, tmp_path).ok
    (note,) = load_model(model).notes
    assert note.startswith(f"1 {op} in training mode")


def codes() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    weight = RNG.choice([-127, 127], (64, 4)).astype(np.int8)
    return model_of(nodes, {"x": (["N", 64], TensorProto.FLOAT)}, {"w": weight})


def test_products_of_codes_are_held_to_exact_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ONNX Runtime's saturate, and where it is only said that they do."""
    assert verified(codes(), tmp_path).ok
    monkeypatch.setattr(golden_run, "products_saturate", lambda: True)

    def fails(*arguments: Any) -> Any:
        raise RuntimeError("saturates")

    monkeypatch.setattr(golden_run, "_by_onnxruntime", fails)
    x = {"x": RNG.normal(size=(3, 64)).astype(np.float32)}
    exact = golden_run.golden_outputs(codes(), x, "net")["y"]
    assert exact.shape == (3, 4)


def test_a_processor_that_saturates_is_recognised() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 4])],
        [numpy_helper.from_array(np.full((64, 4), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    assert golden_run.products_saturate() == bool((found != 64 * 255 * 127).any())


def test_verify_takes_given_inputs(tmp_path: Path) -> None:
    image: Image = pimc.compile(lstm(lengths=False))
    x = {"x": RNG.normal(size=(7, 2, 4)).astype(np.float32)}
    assert verify(image, x).ok
