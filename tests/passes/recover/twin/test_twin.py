"""The twin computes what the session on the die computes, and passes gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.converters import plane_weights
from pimc.chip.design import Chip
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.digital.rows import row_correction
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.twin.twin import Twin, effective_weight
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.passes.recover.known_dies import VARIANTS, mapping_keys


def chip_of(variant: tuple[str, str] = VARIANTS[0], *, dac_signed: bool = True) -> Chip:
    changes: dict[str, Any] = {
        **mapping_keys(variant),
        "read_noise.relative": 0.0,
        "dac.signed": dac_signed,
    }
    return Chip.default().with_array(16, 8).with_(**changes)


def one_node(
    kind: str, shape: tuple[int, ...], x: list[int | str], **attributes: Any
) -> ModelProto:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(x))],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def true_estimate(image: Image, die: Die, layer: ImageLayer) -> CellEstimate:
    cells = image.cells(layer)
    held = die.cells.g_us.reshape(-1)[cells].astype(np.float64)
    if image.chip.mapping.pedestal == "reference":
        held -= die.cells.reference_us.reshape(-1)[cells // image.chip.array.cols]
    return replace(prior(image, layer), mean_us=np.where(cells >= 0, held, 0.0))


def twin_and_session(image: Image, seed: int = 5) -> tuple[Twin, Session]:
    """Both of one die, with all that a recovery may change on the digital side."""
    device = SimDevice(Die.simulated(seed), image.chip, image.arrays, converters=False)
    program(image, device)
    rng = np.random.default_rng(seed)
    estimates = {layer.index: true_estimate(image, device.die, layer) for layer in image.layers}
    layers = []
    for layer in image.layers:
        gain = rng.uniform(0.8, 1.2, layer.gain.shape).astype(np.float32)
        bias = layer.bias + rng.standard_normal(layer.bias.shape).astype(np.float32) / 10
        index = np.sort(rng.choice(layer.groups * layer.rows * layer.cols, 5, replace=False))
        size = layer.scale.mean() * np.ptp(image.codebook.values_us)
        changed = replace(
            layer,
            gain=gain,
            bias=bias,
            residual_index=index.astype(np.int32),
            residual_value=(size * rng.standard_normal(5)).astype(np.float32),
            row_correction=row_correction(estimates[layer.index], image, layer),
        )
        layers.append(changed)
    image = image.with_layers(layers)
    return Twin.of(image, estimates), Session(image, die=device)


def compare(twin: Twin, session: Session, x: np.ndarray) -> None:
    """Layer by layer, each on the input that the session's network gives it."""
    seen: list[str] = []

    def both(node: ir.Node, value: torch.Tensor) -> torch.Tensor:
        name = node.attributes["layer"].as_string()
        wanted = session.layers[name](value)
        found = twin(node, value)
        assert found.shape == wanted.shape
        largest = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * largest)
        assert float(wanted.std()) > 0.05 * largest
        seen.append(name)
        return wanted

    session.evaluate({session.get_inputs()[0].name: torch.from_numpy(x)}, array=both)
    assert seen == [layer.name for layer in session.image.layers]


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_twin_is_the_die(tiny_model, tiny_inputs, variant, calibrated) -> None:
    calib = tiny_inputs if calibrated else None
    image = compile_model(tiny_model(), chip_of(variant), calib=calib)
    assert (image.layers[0].input_scale is not None) == calibrated
    assert image.layers[1].groups == 2
    compare(*twin_and_session(image), tiny_inputs[:8])


def test_inputs_read_in_two_phases(tiny_model, tiny_inputs) -> None:
    image = compile_model(tiny_model(), chip_of(dac_signed=False), calib=tiny_inputs)
    assert image.layers[0].input_signed
    compare(*twin_and_session(image), tiny_inputs[:8])


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (one_node("Conv", (6, 3, 5), ["N", 3, 20], pads=[2, 2], strides=[2]), (4, 3, 20)),
        (one_node("Conv", (6, 1, 3, 3), ["N", 6, 9, 9], group=6), (4, 6, 9, 9)),
        (one_node("MatMul", (20, 10), ["N", 7, 20]), (4, 7, 20)),
        (one_node("Conv", (4, 3, 1, 1), ["N", 3, 5, 5]), (4, 3, 5, 5)),
    ],
    ids=["conv1d", "depthwise", "matmul of rank 3", "pointwise"],
)
def test_other_layers(model, shape, calibrated) -> None:
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    image = compile_model(model, chip_of(), calib=x if calibrated else None)
    compare(*twin_and_session(image), x)


def test_inputs_beyond_the_range_are_clipped_alike(tiny_image, tiny_inputs) -> None:
    image = tiny_image.updated(chip=chip_of().to_dict())
    compare(*twin_and_session(image), tiny_inputs[:8] * 3)


def test_another_die_is_not_this_twin(tiny_image, tiny_inputs) -> None:
    image = tiny_image.updated(chip=chip_of().to_dict())
    twin, _ = twin_and_session(image, seed=5)
    _, session = twin_and_session(image, seed=6)
    with pytest.raises(AssertionError, match="not close"):
        compare(twin, session, tiny_inputs[:8])


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_perfect_cells_the_weights_are_the_rounded_ones(
    tiny_model, tiny_inputs, variant
) -> None:
    image = compile_model(tiny_model(), chip_of(variant), calib=tiny_inputs)
    for layer in image.layers:
        weight = effective_weight(image, layer, prior(image, layer))
        assert weight.shape == (layer.groups, layer.rows, layer.cols)
        wanted = np.asarray(layer.teacher_weight)
        assert ((weight - wanted) ** 2).sum() < max(0.06, 3 * layer.weight_error) * (
            wanted**2
        ).sum()


# --- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("calibrated", [True, False])
def test_gradients_of_gain_and_bias(tiny_model, tiny_inputs, calibrated) -> None:
    image = compile_model(tiny_model(), chip_of(), calib=tiny_inputs if calibrated else None)
    twin, _ = twin_and_session(image)
    layer = twin.layers[image.layers[0].name]
    x = torch.from_numpy(tiny_inputs[:4])
    y = layer(x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    (y * direction).sum().backward()
    assert layer.gain.grad is not None
    assert layer.bias.grad is not None
    raw = (y - layer.bias.view(1, -1, 1, 1)) / layer.gain.view(1, -1, 1, 1)
    torch.testing.assert_close(
        layer.gain.grad, (raw * direction).sum(dim=(0, 2, 3)).detach(), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(layer.bias.grad, direction.sum(dim=(0, 2, 3)))


def test_gradients_pass_the_rounding_but_not_the_clipping(tiny_model, tiny_inputs) -> None:
    image = compile_model(tiny_model(), chip_of(), calib=tiny_inputs)
    twin, _ = twin_and_session(image)
    gemm = image.layers[2]
    layer = twin.layers[gemm.name]
    assert gemm.input_scale is not None
    top = gemm.input_scale * layer.limits[1]
    x = torch.full((1, gemm.rows), top / 3)
    x[0, 0] = 2 * top
    x.requires_grad_()
    layer(x)[0, 1].backward()
    wanted = (layer.kernel[:, 1] * layer.gain[1]).detach()
    assert x.grad is not None
    assert x.grad[0, 0] == 0
    torch.testing.assert_close(x.grad[0, 1:], wanted[1:])
    assert (wanted[1:] != 0).all()


def test_gradients_reach_the_first_layer_from_the_output(tiny_model, tiny_inputs) -> None:
    image = compile_model(tiny_model(), chip_of(), calib=tiny_inputs)
    twin, session = twin_and_session(image)
    y = session.executor.run({"x": torch.from_numpy(tiny_inputs[:8])}, array=twin)["y"]
    y.square().sum().backward()
    for layer in twin.layers.values():
        for parameter in (layer.gain, layer.bias):
            assert parameter.grad is not None
            assert (parameter.grad != 0).any()


def test_trained_values_come_back_for_the_image(tiny_model, tiny_inputs) -> None:
    image = compile_model(tiny_model(), chip_of(), calib=tiny_inputs)
    twin, _ = twin_and_session(image)
    before = [layer.gain.copy() for layer in image.layers]
    with torch.no_grad():
        for number, layer in enumerate(twin.layers.values()):
            layer.gain.fill_(number + 0.5)
            layer.bias.fill_(-number)
    updated = twin.on(image)
    for number, after in enumerate(updated.layers):
        assert after.gain.dtype == after.bias.dtype == np.dtype(np.float32)
        assert (after.gain == number + 0.5).all()
        assert (after.bias == -number).all()
    for unchanged, gain in zip(image.layers, before, strict=True):
        np.testing.assert_array_equal(unchanged.gain, gain)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("variant", [("offset", "reference"), ("arrays", "digital")])
def test_offsets_of_converters_are_in_the_twin(
    tiny_model, tiny_inputs, variant, calibrated
) -> None:
    """A constant on every conversion, by hand: what rounding would add is left out."""
    calib = tiny_inputs if calibrated else None
    keys = {"dac.mode": "bit_serial", "adc.range": "column"}
    image = compile_model(tiny_model(), chip_of(variant).with_(**keys), calib=calib)
    rng = np.random.default_rng(1)
    estimates = {}
    for layer in image.layers:
        known = prior(image, layer)
        offset = rng.standard_normal(known.offset.shape) * np.asarray(layer.lsb_us)
        estimates[layer.index] = replace(known, offset=offset)

    class WithOffset(SimDevice):
        def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
            layer = next(layer for layer in image.layers if layer.name == region.name)
            each = estimates[layer.index].offset / np.asarray(layer.lsb_us)
            total = sum(plane_weights(image.chip, layer.input_signed))
            added = torch.from_numpy(each).float()[:, :, None] * total
            return super().read(region, inputs) + added

    device = WithOffset(Die.ideal(), image.chip, image.arrays, converters=False)
    program(image, device)
    compare(Twin.of(image, estimates), Session(image, die=device), tiny_inputs[:8])
