"""Quantizing on data: what the chip computes stays about the float network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from pimc import api
from pimc.chip.codebook import codebook
from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip
from pimc.passes.quantize.rounding import Grid, weights_of
from pimc.plan.records import Layer, Quantized
from pimc.runtime.session import Session
from tests.passes.lowered_nets import golden, model_of, node

Floats = npt.NDArray[np.float32]
BASE = Chip.default().with_array(32, 16)
#: Of few levels, so that rounding moves the outputs by much.
THREE = BASE.with_levels(3)
UNEVEN = BASE.with_(
    **{
        "cell.levels": 5,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 18.0, 40.0],
    }
)
CHIPS = [THREE, UNEVEN, BASE.with_levels(4).with_mapping("differential")]
every_chip = pytest.mark.parametrize("chip", CHIPS, ids=["three", "uneven", "differential"])


def drawn(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def matrix(rows: int = 40, cols: int = 12, bias: bool = True) -> onnx.ModelProto:
    weights = {"w": drawn(rows, cols) / np.float32(np.sqrt(rows)), "b": drawn(cols)}
    nodes = [node("Gemm", ["x", "w", "b"] if bias else ["x", "w"], ["y"])]
    return model_of(nodes, {"x": ["N", rows]}, weights if bias else {"w": weights["w"]})


def convolutions() -> onnx.ModelProto:
    """Two layers with a non-linearity between, the second of two groups."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "v"], ["y"], group=2),
    ]
    weights = {"w": drawn(6, 2, 3, 3) / 4, "b": drawn(6), "v": drawn(8, 3, 2, 2) / 3}
    return model_of(nodes, {"x": ["N", 2, 8, 8]}, weights)


def correlated(count: int, rows: int, seed: int = 1) -> Floats:
    """Inputs of unlike strength, that go together and whose mean is not zero."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((6, rows)) + 0.3
    x = rng.standard_normal((count, 6)) @ mix + 0.4 * rng.standard_normal((count, rows)) + mix[0]
    return (x * np.exp(rng.standard_normal(rows) / 2)).astype(np.float32)


def without_converters(
    model: onnx.ModelProto, chip: Chip, x: Floats, **options: Any
) -> tuple[Floats, Floats]:
    """Outputs of the float network and of the quantized one, exact but for its input codes."""
    chosen = api.Options(calibration_images=len(x), equalize=False, **options)
    image = api.compile(model, chip, calib=x, options=chosen)
    (found,) = Session(image, converters=False).run(None, {"x": x})
    (wanted,) = golden(model, {"x": x})
    return wanted, found


def quantized(
    model: onnx.ModelProto, chip: Chip, x: Floats, **options: Any
) -> list[tuple[Layer, Quantized]]:
    chosen = api.Options(calibration_images=len(x), equalize=False, **options)
    plan = api.plan(model, chip, calib=x, options=chosen, stop_after="quantize")
    return list(zip(plan.layers, plan.quantized, strict=True))


def held(layer: Layer, found: Quantized, chip: Chip) -> npt.NDArray[np.float64]:
    """The weights that a layer has on the chip."""
    shape = (layer.groups, layer.cols)
    grid = Grid(found.scale.astype(np.float64).reshape(shape), found.zero.reshape(shape))
    return weights_of(codebook(chip), grid, found.codes[:, :, :])


# --- the bias --------------------------------------------------------------------------------


def means(y: Floats) -> npt.NDArray[np.float64]:
    return np.moveaxis(y.astype(np.float64), 1, 0).reshape(y.shape[1], -1).mean(axis=1)


@every_chip
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_rounding_does_not_move_the_mean_of_an_output(
    chip: Chip, feedback: bool, bias: bool
) -> None:
    x = correlated(300, 40)
    wanted, found = without_converters(matrix(bias=bias), chip, x, feedback=feedback)
    away = np.abs(means(found) - means(wanted))
    assert away.max() < 1e-4 * wanted.std()
    # It is the bias that makes up for it: weights and inputs are far from exact.
    assert (found - wanted).std() > 0.02 * wanted.std()
    moved = [f.bias - layer.bias for layer, f in quantized(matrix(bias=bias), chip, x)]
    assert np.abs(moved[0]).max() > 0.02 * wanted.std()


@every_chip
def test_means_are_held_behind_other_layers_that_were_quantized(chip: Chip) -> None:
    x = drawn(50, 2, 8, 8) + np.float32(0.5)
    wanted, found = without_converters(convolutions(), chip, x)
    assert np.abs(means(found) - means(wanted)).max() < 1e-4 * wanted.std()
    assert (found - wanted).std() > 0.02 * wanted.std()


def test_a_layer_that_is_used_twice_holds_the_mean_over_both_uses() -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    model = model_of(nodes, {"x": ["N", 12]}, {"w": drawn(12, 12) / 3})
    x = correlated(400, 12)
    ((layer, found),) = quantized(model, THREE, x)
    w = layer.weight.numpy()[0].astype(np.float64)
    both = np.concatenate([x, x @ w])
    assert found.input_scale is not None
    codes = np.clip(np.rint(both / found.input_scale), *dac_limits(THREE, found.input_signed))
    y = found.input_scale * codes @ held(layer, found, THREE)[0] + found.bias
    away = np.abs(y.mean(axis=0) - (both @ w).mean(axis=0))
    assert away.max() < 1e-4 * (both @ w).std()


# --- the spread --------------------------------------------------------------------------------


@every_chip
def test_columns_vary_as_much_as_in_the_float_network(chip: Chip) -> None:
    """Behind other layers, too: least squares alone would narrow them, layer by layer."""
    x = drawn(50, 2, 8, 8) + np.float32(0.5)
    wanted, found = without_converters(convolutions(), chip, x)
    spreads = [np.moveaxis(y, 1, 0).reshape(y.shape[1], -1).std(axis=1) for y in (wanted, found)]
    np.testing.assert_allclose(spreads[1], spreads[0], rtol=1e-3)
    assert (found - wanted).std() > 0.02 * wanted.std()


def test_a_column_that_never_varies_keeps_its_scale() -> None:
    x = drawn(60, 40)
    x[:, 20:] = 0.25
    model = matrix()
    w = np.array(onnx.numpy_helper.to_array(model.graph.initializer[0]))
    w[:20, 3] = 0.0
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(w, "w"))
    wanted, found = without_converters(model, BASE, x)
    np.testing.assert_allclose(found[:, 3], wanted[:, 3], atol=1e-4)


# --- what ranges allow for -----------------------------------------------------------------------


def test_ranges_for_recovery_are_wider_than_as_programmed_and_narrower_than_for_nothing() -> None:
    x, chip = correlated(400, 40), BASE.with_(**{"cell.sigma.fraction_of_range": 0.1})
    scales = [
        quantized(matrix(), chip, x, **options)[0][1].scale.mean()
        for options in ({"write_noise": 0.0}, {}, {"purpose": "as-programmed"})
    ]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] > 1.02 * scales[2]


# --- weights and inputs ----------------------------------------------------------------------


@every_chip
def test_feedback_serves_the_outputs_and_not_the_weights(chip: Chip) -> None:
    x, fresh = np.split(correlated(1200, 40), 2)
    errors, away = [], []
    for feedback in (False, True):
        options = api.Options(calibration_images=len(x), feedback=feedback)
        image = api.compile(matrix(), chip, calib=x, options=options)
        (wanted,) = golden(matrix(), {"x": fresh})
        (found,) = Session(image, converters=False).run(None, {"x": fresh})
        errors.append(float(((found - wanted) ** 2).mean()))
        away.append(image.layers[0].weight_error)
    assert errors[1] < 0.6 * errors[0]
    assert away[1] > away[0]


@pytest.mark.parametrize("count", [20, 40, 200])
def test_feedback_pays_for_inputs_not_seen_however_few_were(count: int) -> None:
    """Few vectors mislead about what goes together; what is made of them must do no harm."""
    near = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(np.arange(40), np.arange(40))))
    found = np.zeros(2)
    for seed in range(3):
        inputs = (drawn(count + 1500, 40, seed=seed) @ near.T).astype(np.float32)
        x, fresh = inputs[:count], inputs[count:]
        (wanted,) = golden(matrix(), {"x": fresh})
        for n, feedback in enumerate((False, True)):
            options = api.Options(calibration_images=count, feedback=feedback)
            image = api.compile(matrix(), THREE, calib=x, options=options)
            (y,) = Session(image, converters=False).run(None, {"x": fresh})
            # What few samples say of the mean is another matter.
            found[n] += (y - wanted).var(axis=0).mean()
    assert found[1] < 0.97 * found[0]


@every_chip
def test_scales_are_such_that_no_other_one_serves_the_outputs_better(chip: Chip) -> None:
    """After the bias has taken the mean, and up to what damping and shrinking cost."""
    x = correlated(3000, 40)
    ((layer, found),) = quantized(matrix(), chip, x)
    w, own = layer.weight.numpy()[0].astype(np.float64), held(layer, found, chip)[0]
    centred = (x - x.mean(axis=0)).astype(np.float64)
    wanted, got = centred @ w, centred @ own
    best = (wanted * got).sum(axis=0) / (got**2).sum(axis=0)
    assert np.abs(best - 1).max() < 0.05


@pytest.mark.parametrize("positive", [False, True])
def test_importance_is_the_mean_square_of_what_a_wordline_gets(positive: bool) -> None:
    x = np.abs(correlated(500, 40)) if positive else correlated(500, 40)
    ((_, found),) = quantized(matrix(), BASE, x)
    assert found.input_signed == (not positive)
    assert found.input_scale is not None
    codes = np.clip(np.rint(x / found.input_scale), *dac_limits(BASE, not positive))
    np.testing.assert_allclose(found.importance, (codes**2).mean(axis=0)[None], rtol=1e-5)
    assert np.abs(codes).max() == dac_limits(BASE, not positive)[1]


def test_strong_inputs_get_the_better_weights() -> None:
    """Rounding errors of a row count as much as its input is strong."""
    x = drawn(800, 40) * np.where(np.arange(40) < 8, 10.0, 0.1).astype(np.float32)
    model = matrix()
    w = np.array(onnx.numpy_helper.to_array(model.graph.initializer[0]))
    w[:8] /= 4  # a scale that fits all weights would leave these few codes
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(w, "w"))
    ((layer, found),) = quantized(model, BASE.with_levels(8), x, feedback=False, write_noise=0.0)
    away = (held(layer, found, BASE.with_levels(8)) - layer.weight.numpy())[0] ** 2
    assert away[:8].mean() < 0.1 * away[8:].mean()


@every_chip
def test_the_error_it_reports_is_that_of_its_weights(chip: Chip) -> None:
    for layer, found in quantized(convolutions(), chip, drawn(50, 2, 8, 8)):
        w = layer.weight.numpy().astype(np.float64)
        wanted = ((held(layer, found, chip) - w) ** 2).sum() / (w**2).sum()
        assert found.weight_error == pytest.approx(wanted, rel=1e-3)


def test_negative_inputs_that_were_not_seen_are_allowed_for_unless_the_graph_rules_them_out() -> (
    None
):
    x = drawn(64, 2, 8, 8)
    signs = [found.input_signed for _, found in quantized(convolutions(), BASE, x)]
    assert signs == [True, False]
    positive = [found.input_signed for _, found in quantized(convolutions(), BASE, np.abs(x))]
    assert positive == [False, False]
    # One negative entry among many, in whatever sample.
    for sample in (0, 63):
        mixed = np.abs(x)
        mixed[sample, 1, 3, 3] = -1e-3
        assert quantized(convolutions(), BASE, mixed)[0][1].input_signed


def test_more_levels_are_nearer_to_the_float_network() -> None:
    x = correlated(400, 40)
    left = []
    for levels in (3, 8, 32):
        wanted, found = without_converters(matrix(), BASE.with_levels(levels), x, write_noise=0.0)
        left.append(float(((found - wanted) ** 2).mean() / wanted.var()))
    assert left[0] > 4 * left[1] > 8 * left[2]
    assert left[2] < 1e-3


def test_layers_of_no_data_are_scaled_by_each_vector() -> None:
    plan = api.plan(convolutions(), BASE, stop_after="quantize")
    for layer, found in zip(plan.layers, plan.quantized, strict=True):
        assert found.input_scale is None
        assert found.input_signed != layer.nonnegative_input
        assert np.array_equal(found.bias, layer.bias)
        assert np.array_equal(found.importance, np.ones((layer.groups, layer.rows)))
