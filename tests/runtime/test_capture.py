"""A capture holds what the device returned, says of what, and is refused where it does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.chip.converters import adc_limits, dac_limits
from pimc.data.dataset import Dataset
from pimc.errors import DeviceError
from pimc.image.image import ImageLayer
from pimc.runtime.capture import Capture, LayerCapture, _hadamard, _order, capture
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.runtime.captures import NOISELESS, OPTIONS, image_of, same, take

KINDS = ("offset", "differential", "sliced")


@pytest.fixture(scope="module")
def taken(tiny_image, tiny_inputs) -> Capture:
    return take(tiny_image, tiny_inputs)


# --- what it holds -----------------------------------------------------------------------------


def test_shapes_and_types_are_the_documented_ones(taken, tiny_image, tiny_inputs) -> None:
    assert taken.die == "sim:3"
    assert taken.image_sha256 == tiny_image.sha256
    assert list(taken.layers) == [layer.index for layer in tiny_image.layers]
    assert {name: (v.shape, v.dtype) for name, v in taken.outputs.items()} == {
        "y": ((len(tiny_inputs), 4), np.dtype(np.float32))
    }
    for layer in tiny_image.layers:
        record = taken.layers[layer.index]
        blocks, rows, columns = tiny_image.cells(layer).shape
        assert record.inputs.shape == (blocks, rows, 64)
        assert record.codes.shape == (3, blocks, columns, 64)
        assert record.outputs.shape == (layer.groups * layer.cols, 64)
        assert record.inputs.dtype == record.codes.dtype == np.int16
        assert record.outputs.dtype == np.float32


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("pedestal", ["reference", "digital"])
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_the_device_gives(tiny_model, tiny_inputs, kind, pedestal, signed) -> None:
    changes: dict[str, Any] = {
        "mapping.kind": kind,
        "mapping.pedestal": pedestal,
        "dac.signed": signed,
    }
    image = image_of(tiny_model(), tiny_inputs, changes | NOISELESS)
    die = Die.simulated(3)
    captured = take(image, tiny_inputs, die)
    device = SimDevice(die, image.chip, image.arrays)
    for layer in image.layers:
        record = captured.layers[layer.index]
        inputs = torch.from_numpy(record.inputs.astype(np.float32))[None]
        again = device.read(Region.of(image, layer), inputs)[0].numpy()
        for codes in record.codes:
            np.testing.assert_array_equal(codes, again)
        low, high = dac_limits(image.chip, layer.input_signed)
        assert record.inputs.min() >= (low if signed else 0)
        assert record.inputs.max() <= high


def test_outputs_are_what_the_layer_gives(tiny_model, tiny_inputs) -> None:
    image = image_of(tiny_model(), tiny_inputs, NOISELESS)
    session = Session(image, die=Die.simulated(3))
    captured = capture(session, Dataset.of(tiny_inputs), OPTIONS)
    gemm = image.layers[2]
    assert gemm.op == "Gemm"
    assert gemm.input_scale is not None
    codes = captured.layers[2].inputs.reshape(-1, 64)[: gemm.rows].T.astype(np.float32)
    wanted = session.layers[gemm.name](torch.from_numpy(codes * gemm.input_scale)).numpy()
    np.testing.assert_allclose(captured.layers[2].outputs.T, wanted, rtol=1e-4, atol=1e-4)
    assert np.ptp(wanted) > 0.5


def test_network_outputs_are_those_of_the_session(tiny_model, tiny_inputs) -> None:
    image = image_of(tiny_model(), tiny_inputs, NOISELESS)
    die = Die.simulated(3)
    (wanted,) = Session(image, die=die).run(None, {"x": tiny_inputs})
    np.testing.assert_array_equal(take(image, tiny_inputs, die).outputs["y"], wanted)


def test_every_repeat_draws_new_noise(taken) -> None:
    codes = taken.layers[1].codes
    assert (codes[0] != codes[1]).mean() > 0.1
    assert np.abs(codes[0] - codes[1]).max() < 20


def test_only_names_the_layers_and_outputs_can_be_left_out(tiny_image, tiny_inputs) -> None:
    session = Session(tiny_image, die=Die.simulated(3))
    data = Dataset.of(tiny_inputs)
    captured = capture(session, data, OPTIONS, only=[1], outputs=False, taken="2026-01-31")
    assert list(captured.layers) == [1]
    assert captured.outputs == {}
    assert captured.taken == "2026-01-31"


def test_same_seed_same_capture_other_seed_another(tiny_image, tiny_inputs, taken) -> None:
    assert same(take(tiny_image, tiny_inputs), taken)
    other = take(tiny_image, tiny_inputs, seed=1)
    assert not np.array_equal(other.layers[0].inputs, taken.layers[0].inputs)


# --- which vectors -----------------------------------------------------------------------------


def own_and_probes(record: LayerCapture, layer: ImageLayer) -> tuple[np.ndarray, np.ndarray]:
    """The two halves, (blocks, rows, vectors) each."""
    half = record.inputs.shape[2] // 2
    return record.inputs[:, :, :half], record.inputs[:, :, half:]


@pytest.mark.parametrize("vectors", [32, 64, 512])
def test_own_vectors_span_the_rows(tiny_model, tiny_inputs, vectors) -> None:
    image = image_of(tiny_model(), tiny_inputs)
    captured = take(image, tiny_inputs, vectors=vectors, repeats=1)
    for layer in image.layers[:2]:
        own, _ = own_and_probes(captured.layers[layer.index], layer)
        per_group = layer.row_blocks
        for number, block in enumerate(own):
            rows = min(layer.row_block, layer.rows - number % per_group * layer.row_block)
            rank = np.linalg.matrix_rank(block.astype(float))
            assert rank >= min(rows, own.shape[2] // len(own))


def test_rare_inputs_are_among_those_kept() -> None:
    """One image in a hundred drives a row: its vector is kept, whatever the seed."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.abs(np.random.default_rng(1).standard_normal((200, 8))).astype(np.float32)
    x[:, 5] = 0
    x[77, 5] = 1.0
    image = image_of(model, x)
    for seed in range(5):
        captured = take(image, x, vectors=32, images=200, seed=seed)
        own, _ = own_and_probes(captured.layers[0], image.layers[0])
        assert (own[0, 5] > 0).any()


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signed", [True, False])
def test_probes_use_the_adc_and_do_not_saturate_it(
    tiny_model, tiny_inputs, kind, pedestal, signed
) -> None:
    changes: dict[str, Any] = {
        "mapping.kind": kind,
        "mapping.pedestal": pedestal,
        "dac.signed": signed,
    }
    image = image_of(tiny_model(), tiny_inputs, changes)
    captured = take(image, tiny_inputs, vectors=256)
    for layer in image.layers:
        record = captured.layers[layer.index]
        _, probes = own_and_probes(record, layer)
        codes = record.codes[..., -probes.shape[2] :]
        low, high = adc_limits(image.chip, layer.input_signed)
        assert np.abs(codes).max() > 0.2 * high
        # An unsigned ADC gives its smallest code where no input is on.
        clipped = (codes == high) | ((codes == low) & (low < 0))
        assert clipped.mean() < 0.002
        for block in probes:
            assert np.linalg.matrix_rank(block.astype(float)) == block.shape[0]


def test_a_device_that_fails_is_not_hidden(tiny_image, tiny_inputs, monkeypatch) -> None:
    session = Session(tiny_image, die=Die.simulated(3))

    def broken(*arguments: object) -> torch.Tensor:
        raise DeviceError("no answer", where="bench")

    monkeypatch.setattr(session.device, "read", broken)
    with pytest.raises(DeviceError, match="no answer"):
        capture(session, Dataset.of(tiny_inputs), OPTIONS)


def test_the_reads_before_are_noted(tiny_image, tiny_inputs) -> None:
    session = Session(tiny_image, die=Die.simulated(3))
    data = Dataset.of(tiny_inputs)
    assert capture(session, data, OPTIONS, outputs=False).reads == 0
    assert isinstance(session.device, SimDevice)
    served = session.device.reads
    assert served > 0
    assert capture(session, data, OPTIONS, outputs=False).reads == served
    recorded = Session(tiny_image, die=Uncounted(session.device))
    assert capture(recorded, data, OPTIONS, outputs=False).reads == -1


class Uncounted:
    """A device with the methods of the protocol and no count."""

    def __init__(self, inner: SimDevice) -> None:
        self.name, self.program = inner.name, inner.program
        self.written, self.read = inner.written, inner.read


# --- probes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 7, 16, 100])
def test_wordlines_are_driven_alike_as_often_as_not(lines: int) -> None:
    order = _order(lines)
    assert lines <= order < 2 * lines
    generator = torch.Generator().manual_seed(0)
    signs = _hadamard(3, lines, 2 * order, generator)
    assert set(signs.unique().tolist()) <= {-1.0, 1.0}
    for block in signs:
        for part in block.split(order, dim=1):
            np.testing.assert_array_equal((part @ part.T).numpy(), order * np.eye(lines))
    if lines > 7:
        assert not torch.equal(signs[0], signs[1])
        assert not torch.equal(signs[0][:, :order], signs[0][:, order:])


def test_few_vectors_are_all_probes_where_fewer_would_not_reach_every_row(
    tiny_image, tiny_inputs
) -> None:
    """As many as a matrix has rows tell all wordlines apart; half of them would not."""
    for layer in tiny_image.layers:
        order = _order(tiny_image.cells(layer).shape[1])
        captured = take(tiny_image, tiny_inputs, vectors=order, repeats=1)
        for block, present in zip(
            captured.layers[layer.index].inputs, tiny_image.cells(layer), strict=True
        ):
            rows = (present >= 0).any(axis=1)
            assert np.linalg.matrix_rank(block[rows].astype(float)) >= rows.sum() - 1


def test_every_probe_is_as_strong_as_it_may_be(tiny_image, tiny_inputs) -> None:
    layer = tiny_image.layers[1]
    captured = take(tiny_image, tiny_inputs, vectors=64, repeats=1)
    _, probes = own_and_probes(captured.layers[1], layer)
    strengths = np.abs(probes).max(axis=1)
    assert (strengths > 0).all()  # none drives nothing
    assert len(np.unique(strengths)) > 4
