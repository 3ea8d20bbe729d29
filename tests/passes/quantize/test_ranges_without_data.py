"""ADC ranges without calibration data: sums that go together are converted, too."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.codebook import codebook
from pimc.chip.converters import adc_limits, dac_limits
from pimc.chip.design import Chip
from pimc.passes.quantize.ranges import adc_range, safe_range, synthetic_codes, together_codes
from pimc.passes.quantize.rounding import choose_grid, round_nearest
from pimc.runtime.session import Session

#: Levels and converters so fine that only ranges are left to go wrong.
FINE = Chip.default().with_(
    **{
        "cell.levels": 4096,
        "cell.sigma.fraction_of_range": 0.0,
        "read_noise.relative": 0.0,
        "dac.bits": 12,
        "adc.bits": 12,
    }
)


def network(nodes: list[onnx.NodeProto], shape: list[int | str], **constants) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def error_of(model: onnx.ModelProto, chip: Chip, x: np.ndarray, calib: np.ndarray | None = None):
    """Root mean square error of perfect cells against ONNX Runtime, relative."""
    golden = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    found = Session(compile_model(model, chip, calib=calib)).run(None, {"x": x})[0]
    return float(np.sqrt(np.mean((found - golden) ** 2) / np.mean(golden**2)))


def averaging() -> tuple[onnx.ModelProto, np.ndarray]:
    weight = np.full((4, 16, 5, 5), 1 / 400, np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[2] * 4)
    x = np.random.default_rng(0).random((4, 16, 12, 12)).astype(np.float32)
    return network([node], ["N", 16, 12, 12], w=weight), x


def uncentred() -> tuple[onnx.ModelProto, np.ndarray]:
    rng = np.random.default_rng(0)
    weight = (0.05 + 0.05 * rng.normal(size=(784, 10))).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return network([node], ["N", 784], w=weight), rng.random((8, 784)).astype(np.float32)


@pytest.mark.parametrize("made", [averaging, uncentred])
def test_sums_of_inputs_of_one_sign_are_not_clipped(made) -> None:
    model, x = made()
    assert error_of(model, FINE, x) < 0.003


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_steps_that_the_network_states_bound_the_range(bits: int) -> None:
    """int8 codes in a DAC of more bits use a part of it; the ADC need not reckon with the rest."""
    rng = np.random.default_rng(0)
    weight = (0.2 * rng.normal(size=(8, 3, 3, 3))).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    constants = {"w": weight, "s": np.float32(4 / 127), "z": np.int8(0)}
    model = network(nodes, ["N", 3, 8, 8], **constants)
    x = rng.normal(size=(4, 3, 8, 8)).astype(np.float32)
    assert error_of(model, FINE.with_(**{"dac.bits": bits}), x) < 0.004


def test_a_clip_between_codes_bounds_them() -> None:
    """Four bits as training tools export them: int8 codes, clipped to ±7."""
    rng = np.random.default_rng(0)
    weight = (0.2 * rng.normal(size=(8, 3, 3, 3))).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Clip", ["q", "low", "high"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    limits = {"low": np.int8(-7), "high": np.int8(7)}
    model = network(nodes, ["N", 3, 8, 8], w=weight, s=np.float32(3 / 7), z=np.int8(0), **limits)
    x = rng.normal(size=(4, 3, 8, 8)).astype(np.float32)
    assert error_of(model, FINE, x) < 0.004


def test_calibration_data_do_not_make_a_shared_weight_worse() -> None:
    """Three uses of one weight, whose largest currents are rare."""
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(4, 4, 3, 3)) / 6).astype(np.float32)
    bias = (0.1 * rng.normal(size=4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["ar"]),
        helper.make_node("Conv", ["ar", "w", "b"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["cr"]),
        helper.make_node("Conv", ["cr", "w", "b"], ["y"], pads=[1] * 4),
    ]
    model = network(nodes, ["N", 4, 10, 10], w=weight, b=bias)
    x = rng.normal(size=(3, 4, 10, 10)).astype(np.float32)
    assert error_of(model, FINE, x, x) <= error_of(model, FINE, x)


@pytest.mark.parametrize("signed", [False, True])
def test_independent_inputs_pay_little_for_the_room(signed: bool) -> None:
    """Of normal weights: at most three times the error of a range that is fitted to them alone."""
    chip = Chip.default().with_(**{"cell.sigma.fraction_of_range": 0.0})
    book = codebook(chip)
    weight = np.random.default_rng(2).standard_normal((1, 126, 24))
    grid = choose_grid(weight, np.ones((1, 126)), book, 0.0)
    codes = round_nearest(weight, grid, book)
    limits = dac_limits(chip, signed)
    rng = np.random.default_rng(0)
    alone = synthetic_codes(limits, 126, 1, rng)
    kinds = (alone, together_codes(limits, 126, 9, 1, rng))
    fitted = adc_range(chip, book, codes, grid, alone, signed, np.random.default_rng(1)).lsb_us
    safe = safe_range(chip, book, codes, grid, kinds, signed, np.random.default_rng(1)).lsb_us
    assert fitted < safe < 3 * fitted


def test_the_range_holds_what_goes_together() -> None:
    """Equal weights under equal inputs: the full sum is converted, as far as an ADC can."""
    book = codebook(FINE)
    codes = np.full((1, 100, 3), len(book.values_us) - 1, np.uint16)
    grid = choose_grid(np.ones((1, 100, 3)), np.ones((1, 100)), book, 0.0)
    limits = dac_limits(FINE, False)
    kinds = (
        synthetic_codes(limits, 100, 1, np.random.default_rng(0)),
        np.full((1, 4, 100), float(limits[1])),
    )
    lsb = safe_range(FINE, book, codes, grid, kinds, False, np.random.default_rng(1)).lsb_us
    level = np.asarray(FINE.cell.g_levels_us)[book.levels[codes]][0, :, 0, 0]
    largest = float((level - book.reference_us).sum() * limits[1])
    assert lsb * adc_limits(FINE, False)[1] >= 0.99 * abs(largest)
