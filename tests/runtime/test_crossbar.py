"""A layer on the array computes what the same layer with its cells' weights computes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.converters import adc_limits, dac_limits
from pimc.chip.design import Chip
from pimc.image.image import Image, ImageLayer
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session

Array = npt.NDArray[np.float32]
CHIP = Chip.default().with_array(16, 12)
#: Layers are given what the network's inputs are.
PLAIN = Options(equalize=False)
VARIANTS = [(k, p) for k in ("offset", "differential", "sliced") for p in ("reference", "digital")]


def chip_of(variant: tuple[str, str], **changes: Any) -> Chip:
    """``changes`` with ``_`` for the dot."""
    kind, pedestal = variant
    dotted = {name.replace("_", "."): value for name, value in changes.items()}
    return CHIP.with_(**{"mapping.kind": kind, "mapping.pedestal": pedestal, **dotted})


# --- one layer, and what it must give ----------------------------------------------------------


@dataclass(frozen=True)
class Op:
    """An ONNX operator with a weight, for inputs of ``rank`` dimensions."""

    kind: str
    rank: int
    attributes: dict[str, Any] = field(default_factory=dict)

    def model(self, weight: Array, bias: Array | None) -> bytes:
        """Of this operator alone; all sizes of the input that the weight does not fix are free."""
        tensors = [numpy_helper.from_array(weight, "w")]
        tensors += [] if bias is None else [numpy_helper.from_array(bias, "b")]
        names = ["x", *(tensor.name for tensor in tensors)]
        node = helper.make_node(self.kind, names, ["y"], **self.attributes)
        shape: list[int | str] = [f"d{axis}" for axis in range(self.rank)]
        if self.kind == "Conv":
            shape[1] = weight.shape[1] * self.attributes["group"]
        else:
            shape[-1] = weight.shape[0]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * self.rank)
        graph = helper.make_graph([node], "one", [x], [y], tensors)
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(model.SerializeToString())

    def golden(self, weight: Array, bias: Array, x: Array) -> Array:
        """What ONNX Runtime computes."""
        added = self.kind != "MatMul"  # MatMul has no bias
        model = self.model(weight, bias if added else None)
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        (y,) = session.run(None, {"x": x})
        return np.asarray(y if added else y + bias)


def only_layer(image: Image) -> ImageLayer:
    (layer,) = image.layers
    return layer


def held(image: Image) -> Array:
    """The weights in ONNX's shape, read back from the image's levels cell by cell."""
    layer, book = only_layer(image), image.codebook
    cells = image.cells(layer).reshape(layer.groups, -1, layer.cols * layer.planes)
    levels = image.levels.reshape(-1)[cells[:, : layer.rows]]
    g = np.asarray(image.chip.cell.g_levels_us)[levels]
    values = g.reshape(layer.groups, layer.rows, layer.cols, layer.planes) @ book.coefficients
    shape = (layer.groups, 1, layer.cols)
    weight = (values - book.values_us[layer.zero].reshape(shape)) * layer.scale.reshape(shape)
    weight = weight.astype(np.float32)
    if layer.window is None:
        return np.asarray(weight[0])
    kernel = weight.transpose(0, 2, 1).reshape(layer.groups * layer.cols, -1, *layer.window.kernel)
    return np.asarray(kernel)


def quantized(image: Image, x: Array) -> Array:
    """``x`` as the DACs give it, with a static range."""
    layer = only_layer(image)
    assert layer.input_scale is not None
    low, high = dac_limits(image.chip, layer.input_signed)
    codes = np.clip(np.rint(x / np.float32(layer.input_scale)), low, high)
    return np.asarray(codes * np.float32(layer.input_scale), np.float32)


def run(image: Image, x: Array, die: Die | None = None, *, converters: bool = False) -> Array:
    (y,) = Session(image, die=die, converters=converters).run(None, {"x": x})
    return np.asarray(y)


def close(found: Array, wanted: npt.NDArray[np.floating], part: float) -> None:
    """Equal but for ``part`` of the largest value."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0.0) <= part * np.abs(wanted).max(initial=1e-6)


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# --- geometry ----------------------------------------------------------------------------------

Shape = tuple[int, ...]


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Op, Shape, Shape]:
    """A Conv with the shapes of its weight and of an input that fits."""
    dims, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    small = st.lists(st.integers(1, 3), min_size=dims, max_size=dims)
    kernel, strides, dilations = draw(small), draw(small), draw(small)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad == "NOTSET":
        pads = st.lists(st.integers(0, 2), min_size=2 * dims, max_size=2 * dims)
        attributes["pads"] = draw(pads)
    else:
        attributes["auto_pad"] = auto_pad
    if auto_pad.startswith("SAME"):  # ONNX Runtime knows no dilation with it
        attributes["dilations"] = dilations = [1] * dims
    sizes = [draw(st.integers((k - 1) * d + 1, 9)) for k, d in zip(kernel, dilations, strict=True)]
    ins, outs = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    batch = draw(st.integers(1, 3))
    op = Op("Conv", 2 + dims, attributes)
    return op, (outs * groups, ins, *kernel), (batch, ins * groups, *sizes)


@settings(max_examples=50, deadline=None)
@given(geometries(), st.booleans(), st.booleans(), st.sampled_from(VARIANTS), st.integers(0, 99))
def test_convolutions(
    geometry: tuple[Op, Shape, Shape],
    with_bias: bool,
    signed: bool,
    variant: tuple[str, str],
    seed: int,
) -> None:
    op, weight_shape, shape = geometry
    model = op.model(
        normal(seed, *weight_shape), normal(seed + 1, weight_shape[0]) if with_bias else None
    )
    x = normal(seed + 2, *shape) if signed else np.abs(normal(seed + 2, *shape))
    static = compile_model(model, chip_of(variant), calib=x, options=PLAIN)
    bias = only_layer(static).bias
    close(run(static, x), op.golden(held(static), bias, quantized(static, x)), 1e-4)
    # With ranges of the moment and inputs of 16 bits only the cells' levels make a difference.
    dynamic = compile_model(model, chip_of(variant, dac_bits=16))
    assert only_layer(dynamic).input_scale is None
    close(run(dynamic, x), op.golden(held(dynamic), only_layer(dynamic).bias, x), 1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Op("MatMul", 2), (5, 40)),
        (Op("MatMul", 3), (3, 4, 40)),
        (Op("MatMul", 4), (2, 1, 4, 40)),
        (Op("Gemm", 2), (5, 40)),
    ],
)
def test_matrix_products(op: Op, shape: Shape, variant: tuple[str, str]) -> None:
    bias = normal(1, 9) if op.kind == "Gemm" else None
    model, x = op.model(normal(0, 40, 9), bias), normal(2, *shape)
    image = compile_model(model, chip_of(variant), calib=x, options=PLAIN)
    layer = only_layer(image)
    assert layer.row_blocks == 3
    assert layer.col_blocks == (1 if variant[0] == "offset" else 2)
    close(run(image, x), op.golden(held(image), layer.bias, quantized(image, x)), 1e-4)


# --- ranges ------------------------------------------------------------------------------------


def test_dynamic_ranges_bring_every_vector_to_full_scale() -> None:
    op = Op("MatMul", 2)
    image = compile_model(op.model(normal(0, 40, 9), None), CHIP)
    x = normal(1, 6, 40) * np.array([[1e-6], [1], [1e6], [1], [1], [0]], np.float32)
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    codes = np.rint(np.divide(x, step, where=step > 0, out=np.zeros_like(x)))
    wanted = (codes * step) @ held(image)
    found = run(image, x)
    for row in range(6):
        close(found[row], wanted[row] + only_layer(image).bias, 1e-4)


def test_values_beyond_a_static_range_are_clipped() -> None:
    op = Op("MatMul", 2)
    calib = normal(1, 50, 40)
    image = compile_model(op.model(normal(0, 40, 9), None), CHIP, calib=calib, options=PLAIN)
    # Everything at its end, once: further out nothing changes.
    far = np.sign(calib) * np.float32(1e3)
    assert np.array_equal(run(image, far), run(image, far * 2))
    assert np.abs(quantized(image, far)).max() <= np.abs(calib).max() * 1.001


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_drivers_without_negative_voltages_read_in_two_phases(
    variant: tuple[str, str], calibrated: bool
) -> None:
    op, x = Op("MatMul", 2), normal(1, 5, 40)
    chip = chip_of(variant, dac_signed=False, dac_bits=12)
    calib = x if calibrated else None
    image = compile_model(op.model(normal(0, 40, 9), None), chip, calib=calib, options=PLAIN)
    layer = only_layer(image)
    assert layer.input_signed
    wanted = quantized(image, x) if calibrated else x
    close(run(image, x), op.golden(held(image), layer.bias, wanted), 1e-4 if calibrated else 1e-2)

    class Watching(SimDevice):
        seen: list[torch.Tensor]

        def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
            self.seen.append(inputs)
            return super().read(region, inputs)

    device = Watching(Die.ideal(), chip, image.arrays)
    device.seen = []
    bound = CrossbarLayer.of(image, layer, device, "cpu")
    _, record = bound.record(torch.from_numpy(x))
    (inputs,) = device.seen
    positive, negative = inputs.chunk(2, dim=3)
    assert positive.min() == negative.min() == 0
    assert not (positive * negative).any()
    assert torch.equal(positive - negative, record.inputs)
    assert record.inputs.abs().max() == 4095
    low, high = adc_limits(chip, True)
    assert record.codes.abs().max() <= high - low


def test_the_record_is_what_the_arrays_saw_and_gave() -> None:
    op, x = Op("MatMul", 2), normal(1, 5, 40)
    image = compile_model(op.model(normal(0, 40, 9), None), CHIP, calib=x, options=PLAIN)
    layer = only_layer(image)
    session = Session(image, die=Die.simulated(2))
    y, record = session.layers[layer.name].record(torch.from_numpy(x))
    assert record.inputs.shape == (5, 3, 16, 1)
    assert record.codes.shape == (5, 3, 9, 1)
    assert np.array_equal(record.inputs, torch.round(record.inputs))
    assert layer.input_scale is not None
    inputs = record.inputs.flatten(1, 2)[:, :40, 0].numpy() * layer.input_scale
    assert inputs == pytest.approx(quantized(image, x), rel=1e-6)
    assert (record.inputs[:, 2, 8:] == 0).all()  # rows that the last tile does not have
    low, high = adc_limits(CHIP, True)
    assert low <= record.codes.min() < record.codes.max() <= high
    # The output is the sum of the codes, in the layer's units.
    book = image.codebook
    current = record.codes.sum(dim=1)[:, :, 0].numpy() * layer.adc_lsb_us
    total = record.inputs.sum(dim=(1, 2)).numpy()
    current = current - total * book.pedestal_us(layer.zero)
    wanted = current * layer.scale * layer.input_scale + layer.bias
    close(y.numpy(), wanted, 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_converters_cost_little_on_an_ideal_die(variant: tuple[str, str]) -> None:
    op, x = Op("MatMul", 2), normal(1, 200, 40)
    chip = chip_of(variant, adc_bits=12)
    image = compile_model(op.model(normal(0, 40, 9), None), chip, calib=x, options=PLAIN)
    exact, found = run(image, x), run(image, x, converters=True)
    assert 0 < np.square(found - exact).sum() / np.square(exact).sum() < 0.01


# --- what recovery changes ---------------------------------------------------------------------


def test_gain_and_bias_are_linear() -> None:
    op = Op("Conv", 4, {"group": 2})
    x = normal(1, 2, 6, 7, 7)
    image = compile_model(
        op.model(normal(0, 8, 3, 3, 3), normal(2, 8)), CHIP, calib=x, options=PLAIN
    )
    gain, bias = np.abs(normal(3, 8)) + np.float32(0.5), normal(4, 8)
    changed = image.with_layers([replace(only_layer(image), gain=gain, bias=bias)])
    along = (1, -1, 1, 1)
    plain = run(image, x) - only_layer(image).bias.reshape(along)
    close(run(changed, x), plain * gain.reshape(along) + bias.reshape(along), 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("op", [Op("MatMul", 2), Op("Conv", 3, {"group": 2})])
def test_row_correction_is_subtracted_once_a_physical_column(
    variant: tuple[str, str], op: Op
) -> None:
    if op.kind == "MatMul":
        weight, x = normal(0, 20, 17), normal(1, 5, 20)
    else:
        weight, x = normal(0, 34, 7, 3), normal(1, 2, 14, 3)  # one position
    image = compile_model(op.model(weight, None), chip_of(variant), calib=x, options=PLAIN)
    layer, planes = only_layer(image), image.codebook.planes
    assert layer.col_blocks > 1
    correction = normal(2, layer.groups, layer.col_blocks, layer.rows)
    changed = image.with_layers([replace(layer, row_correction=correction)])

    codes = quantized(image, x).reshape(len(x), layer.groups, layer.rows)
    wanted = np.zeros((len(x), layer.groups, layer.cols))
    for column in range(layer.cols):
        for plane, factor in enumerate(image.codebook.coefficients):
            block = (column * planes + plane) // layer.col_block
            common = np.einsum("bgk,gk->bg", codes, correction[:, block])
            wanted[:, :, column] -= factor * common
    wanted = wanted.reshape(len(x), -1) * layer.scale
    found = (run(changed, x) - run(image, x)).reshape(len(x), -1)
    # A difference of two outputs keeps their rounding.
    bound = float(1e-5 * max(np.abs(wanted).max(), np.abs(run(changed, x)).max()))
    assert found == pytest.approx(wanted, abs=bound)


def test_errors_of_a_die_show_in_the_output() -> None:
    """With the die's own conductances for weights the output is the die's."""
    op, x = Op("MatMul", 2), normal(1, 20, 40)
    chip = CHIP.with_(**{"read_noise.relative": 0.0})
    image = compile_model(op.model(normal(0, 40, 9), None), chip, calib=x, options=PLAIN)
    layer = only_layer(image)
    session = Session(image, die=Die.simulated(3), converters=False)
    assert isinstance(session.device, SimDevice)
    state = session.device.die.cells
    cells = image.cells(layer).reshape(-1, 9)[:40]
    g = state.g_us.reshape(-1)[cells] - state.reference_us.reshape(-1)[cells // 12]
    weight = (g - image.codebook.pedestal_us(layer.zero)) * layer.scale
    (y,) = session.run(None, {"x": x})
    close(y, quantized(image, x) @ weight + layer.bias, 1e-4)
    assert np.abs(y - run(image, x)).max() > 0.01
