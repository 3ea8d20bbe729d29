"""The golden network and what verify finds with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.errors import ImageError, ModelError
from pimc.image.golden import golden_model, held_weight
from pimc.image.image import Image
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.session import Session
from pimc.studies.golden.verify import Verification, verify
from pimc.studies.golden.verify_inputs import random_inputs


def drawn(image: Image, samples: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    return random_inputs(Session(image).get_inputs(), image, samples, seed)


def first_diverging(found: Verification) -> tuple[str, str]:
    """Name and part of the first value that differs."""
    assert found.first_diverging is not None
    return found.first_diverging.name, found.first_diverging.part


def chips() -> dict[str, Chip]:
    chip = Chip.default().with_array(16, 8)
    return {
        "offset": chip,
        "differential": chip.with_mapping("differential"),
        "sliced": chip.with_mapping("sliced").with_levels(4),
        "digital pedestal": chip.with_(**{"mapping.pedestal": "digital"}),
        "unsigned driver": chip.with_(**{"dac.signed": False}),
        "few codes": chip.with_(**{"dac.bits": 4}),
    }


@pytest.mark.parametrize("kind", chips())
@pytest.mark.parametrize("calibrated", [True, False])
def test_every_mapping_agrees_with_its_golden_network(
    tiny_model, tiny_inputs, kind, calibrated
) -> None:
    image = compile(tiny_model(), chips()[kind], calib=tiny_inputs if calibrated else None)
    for inputs in (drawn(image), {"x": tiny_inputs[:5]}):
        found = verify(image, inputs)
        assert found.ok, found.first_diverging
        assert [c.name for c in found.comparisons if c.part == "array"] == ["w1", "w2", "w3"]


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_golden_network_is_valid_standard_onnx_of_the_models_opset(tiny_model, opset) -> None:
    image = compile(tiny_model(opset=opset), Chip.default())
    golden = golden_model(image)
    onnx.checker.check_model(golden, full_check=True)
    assert {node.domain for node in golden.graph.node} == {""}
    assert verify(image, drawn(image)).ok


def test_golden_network_means_the_float_network_up_to_quantization(
    tiny_model, tiny_image, tiny_inputs
) -> None:
    golden = ort.InferenceSession(golden_model(tiny_image).SerializeToString())
    source = ort.InferenceSession(tiny_model().SerializeToString())
    got, wanted = (s.run(None, {"x": tiny_inputs})[0] for s in (golden, source))
    assert 0 < np.abs(got - wanted).max() < 0.25 * np.abs(wanted).max()


def test_held_weights_are_the_teachers_up_to_quantization(tiny_image) -> None:
    for layer in tiny_image.layers:
        error = held_weight(tiny_image, layer) - layer.teacher_weight
        power = (layer.teacher_weight.astype(np.float64) ** 2).sum()
        assert (error**2).sum() / power == pytest.approx(layer.weight_error, rel=1e-3, abs=1e-9)


def one_node_model(node: onnx.NodeProto, shape: list, *weights: np.ndarray) -> onnx.ModelProto:
    names = node.input[1:]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("calibrated", [True, False])
def test_auto_pad_and_one_dimension(auto_pad, calibrated) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 4)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=auto_pad, strides=[2])
    x = rng.standard_normal((2, 3, 11)).astype(np.float32)
    image = compile(
        one_node_model(node, ["N", 3, 11], weight), calib=np.repeat(x, 8, 0) if calibrated else None
    )
    assert verify(image, {"x": x}).ok


@pytest.mark.parametrize("calibrated", [True, False])
def test_matmul_over_three_axes_with_a_vector_of_zeros(calibrated) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 5)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = rng.standard_normal((3, 4, 6)).astype(np.float32)
    x[1, 2] = 0
    image = compile(one_node_model(node, ["N", 4, 6], weight), calib=x if calibrated else None)
    found = verify(image, {"x": x})
    assert found.ok
    assert found.max_abs_error < 1e-4


def test_row_corrections_are_part_of_the_golden_network(tiny_image, tiny_inputs) -> None:
    layer = tiny_image.layers[1]
    shape = (layer.groups, layer.col_blocks, layer.rows)
    correction = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    changed = tiny_image.with_layers([replace(layer, row_correction=correction)])
    assert verify(changed, {"x": tiny_inputs[:3]}).ok
    before, after = (held_weight(i, i.layers[1]) for i in (tiny_image, changed))
    assert np.abs(before - after).max() > 0


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_residual_is_part_of_the_golden_network(tiny_model, tiny_inputs, calibrated) -> None:
    image = compile(tiny_model(), calib=tiny_inputs if calibrated else None)
    values = np.array([0.5, -0.7, 0.2], np.float32)
    second = replace(
        image.layers[1],
        residual_index=np.array([0, 3, 17], np.int32),
        residual_value=values,
        gain=np.full_like(image.layers[1].gain, 1.25),
    )
    changed = image.with_layers([second])
    assert verify(changed, {"x": tiny_inputs[:3]}).ok
    layer = image.layers[1]
    added = held_weight(changed, changed.layers[1]) - 1.25 * held_weight(image, layer)
    wanted = np.zeros(added.size)
    wanted[second.residual_index] = 1.25 * values
    np.testing.assert_allclose(added.reshape(-1), wanted, atol=1e-7)


def test_first_diverging_layer_is_the_one_that_is_wrong(
    tiny_image, tiny_inputs, monkeypatch
) -> None:
    original = CrossbarLayer.__call__

    def wrong(self, x):
        y = original(self, x)
        return y * 1.01 if self.layer.name == "w2" else y

    monkeypatch.setattr(CrossbarLayer, "__call__", wrong)
    found = verify(tiny_image, {"x": tiny_inputs[:3]})
    assert not found.ok
    assert first_diverging(found) == ("w2", "array")
    # Layers behind it get golden inputs, so they are not blamed.
    assert all(c.ok for c in found.comparisons if c.name == "w3" and c.part != "network")


def test_a_wrong_digital_operator_is_blamed_on_the_part_before_the_layer(
    tiny_image, tiny_inputs, monkeypatch
) -> None:
    import torch

    from pimc.runtime.ops import registry

    entry = registry.lookup("", "Relu", 17)
    assert entry is not None
    leaky = replace(entry, function=lambda x: torch.where(x > 0, x, 0.01 * x))
    monkeypatch.setattr("pimc.runtime.graph.resolve.lookup", lambda domain, name, opset: (
        leaky if name == "Relu" else registry.lookup(domain, name, opset)
    ))  # fmt: skip
    found = verify(tiny_image, {"x": tiny_inputs[:3]})
    assert first_diverging(found) == ("w2", "digital")


def test_source_model_is_compared_with_the_float_weights(
    tiny_model, tiny_image, tiny_inputs, tmp_path
) -> None:
    same, other = tmp_path / "same.onnx", tmp_path / "other.onnx"
    onnx.save(tiny_model(), same)
    onnx.save(tiny_model(seed=5), other)
    found = verify(tiny_image, {"x": tiny_inputs[:3]}, model=same)
    assert found.ok
    assert [c.name for c in found.comparisons if c.part == "source"] == ["y"]
    found = verify(tiny_image, {"x": tiny_inputs[:3]}, model=other)
    assert first_diverging(found) == ("y", "source")


def test_source_model_without_teacher_and_broken_source_are_refused(
    tiny_model, tiny_chip, tiny_image, tiny_inputs, tmp_path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(tiny_model(), path)
    plain = compile(tiny_model(), tiny_chip, options=Options(teacher=False))
    with pytest.raises(ImageError, match="no float weights"):
        verify(plain, {"x": tiny_inputs[:2]}, model=path)
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match="not an ONNX file"):
        verify(tiny_image, {"x": tiny_inputs[:2]}, model=path)


def test_random_inputs_fill_the_first_layers_range_and_repeat_with_the_seed(tiny_image) -> None:
    first, again, other = (drawn(tiny_image, 50, seed)["x"] for seed in (0, 0, 1))
    assert first.shape == (50, 2, 8, 8)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    full_scale = tiny_image.layers[0].input_scale * 127
    assert 0.8 * full_scale < np.abs(first).max() < 3 * full_scale


def test_inputs_that_the_network_cannot_take_are_refused(tiny_image) -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot run"):
        verify(tiny_image, {"x": np.zeros((2, 3, 8, 8), np.float32)})
