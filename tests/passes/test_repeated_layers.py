"""Layers in bodies of control flow, and layers that several nodes use."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.golden import golden_model
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.plan.records import array_nodes, repeated_layers
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.golden.verify import verify
from tests.passes.lowered_nets import (
    compared,
    drawn,
    golden,
    model_of,
    node,
)

# --- control flow, and layers that are used again ----------------------------------------------


def branching() -> onnx.ModelProto:
    """If the sum is positive through one layer, else through another; then a third."""
    bodies = [
        helper.make_graph(
            [node("MatMul", ["x", weight], [f"out.{weight}"])],
            f"with.{weight}",
            [],
            [helper.make_tensor_value_info(f"out.{weight}", TensorProto.FLOAT, ["N", 4])],
        )
        for weight in ("u", "v")
    ]
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["h"], then_branch=bodies[0], else_branch=bodies[1]),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    weights = {name: drawn(4, 4) + k for k, name in enumerate("uvw")} | {"zero": np.float32(0)}
    return model_of(nodes, {"x": ["N", 4]}, weights)


@pytest.mark.parametrize("sign", [1, -1])
def test_layers_in_bodies(sign) -> None:
    x = sign * np.abs(drawn(5, 4))
    model = branching()
    image = compared(model, x=x)
    assert sorted(layer.name for layer in image.layers) == ["u", "v", "w"]
    assert repeated_layers(image.graph()) == {"u", "v"}
    # Only one branch runs on calibration data; the other gets dynamic ranges.
    calibrated = compile_model(model, Chip.default().with_array(64, 64), calib=x)
    scales = {layer.name: layer.input_scale for layer in calibrated.layers}
    assert (scales["u"] is None, scales["v"] is None) == (sign < 0, sign > 0)
    for held in (image, calibrated):
        (wanted,) = golden(golden_model(held), {"x": x})
        (found,) = Session(held, converters=False).run(None, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def sequence_classifier() -> onnx.ModelProto:
    """(N, 2, 8, 8) as eight steps of a GRU, and its last state through a layer."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[2, 0, 1, 3]),
        node("Reshape", ["t", "shape"], ["steps"]),
        node("GRU", ["steps", "w", "r", "b"], ["", "h"], hidden_size=12, linear_before_reset=1),
        node("Squeeze", ["h", "first"], ["last"]),
        node("MatMul", ["last", "out"], ["y"]),
    ]
    weights = {
        "shape": np.array([8, -1, 16]), "first": np.array([0]), "w": drawn(1, 36, 16),
        "r": drawn(1, 36, 12), "b": drawn(1, 72), "out": drawn(12, 4) * 3,
    }  # fmt: skip
    return model_of(nodes, {"x": ["N", 2, 8, 8]}, weights)


def test_a_recurrent_network_compiles_verifies_and_recovers() -> None:
    x = np.random.default_rng(0).standard_normal((192, 2, 8, 8)).astype(np.float32)
    model = sequence_classifier()
    image = compile_model(model, Chip.default().with_array(64, 32).with_sigma(0.08), calib=x[:64])
    assert repeated_layers(image.graph()) == {"r"}
    assert verify(image, {"x": x[:16]}).ok
    (wanted,) = golden(model, {"x": x[128:]})
    (ideal,) = Session(image).run(None, {"x": x[128:]})
    device = SimDevice(Die.simulated(2), image.chip, image.arrays, read_seed=2)
    program(image, device)

    def away(held: Image, device: SimDevice) -> float:
        (found,) = Session(held, die=device).run(None, {"x": x[128:]})
        return float(((found - wanted) ** 2).mean() / wanted.var())

    assert float(((ideal - wanted) ** 2).mean() / wanted.var()) < 0.1
    before = away(image, device)
    options = RecoverOptions(
        budget=0.2,
        rounds=1,
        capture=CaptureOptions(vectors=128, repeats=2, images=32),
        distill=DistillOptions(epochs=2, batch_size=16),
    )
    recovery = recover(image, device, Dataset.of(x[:128]), options)
    assert away(recovery.image, device) < 0.5 * before


def test_a_tied_layer_recovers() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w"], ["c"], pads=[1] * 4),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "out"], ["y"]),
    ]
    weights = {"w": drawn(2, 2, 3, 3), "out": drawn(2, 4)}
    model = model_of(nodes, {"x": ["N", 2, 8, 8]}, weights)
    x = np.random.default_rng(1).standard_normal((128, 2, 8, 8)).astype(np.float32)
    image = compile_model(model, Chip.default().with_array(32, 16).with_sigma(0.08), calib=x[:64])
    assert [layer.name for layer in image.layers] == ["w", "out"]
    assert len(array_nodes(image.graph())) == 3
    assert verify(image, {"x": x[:16]}).ok
    device = SimDevice(Die.simulated(4), image.chip, image.arrays, read_seed=2)
    program(image, device)
    (wanted,) = golden(model, {"x": x})
    options = RecoverOptions(rounds=1, budget=0.3, distill=DistillOptions(epochs=1, batch_size=16))
    recovery = recover(image, device, Dataset.of(x), options)
    first, last = recovery.stages[0], min(recovery.stages, key=lambda stage: stage.loss)
    assert last.loss < 0.5 * first.loss
    (found,) = Session(recovery.image, die=device).run(None, {"x": x})
    assert float(((found - wanted) ** 2).mean() / wanted.var()) < 0.1
