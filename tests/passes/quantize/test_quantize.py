"""Layers quantized in the order in which they run, on what the quantized ones before them give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from pimc import api
from pimc.chip.codebook import codebook
from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.passes.options import Options
from pimc.passes.quantize.quantize import Calibration, Quantize
from pimc.passes.quantize.rounding import Grid, weights_of
from pimc.plan.records import Plan
from pimc.runtime.session import Session
from tests.passes.lowered_nets import drawn, golden, model_of, node

Array64 = npt.NDArray[np.float64]

SMALL = Chip.default().with_array(64, 64)


@dataclass
class Watched:
    """A calibration that remembers what goes into and comes out of the layers, run by run."""

    inner: Calibration
    runs: list[dict[str, tuple[Array64, Array64]]] = field(default_factory=list)

    def __call__(
        self,
        graph: ir.Model,
        on_array: Callable[[str, Array64], Array64],
        *,
        most: int | None = None,
    ) -> None:
        self.runs.append({})

        def watch(name: str, x: Array64) -> Array64:
            y = on_array(name, x)
            self.runs[-1][name] = (x.copy(), y.copy())
            return y

        self.inner(graph, watch, most=most)


@pytest.fixture
def partitioned(tiny_model) -> Plan:
    return api.plan(tiny_model(), SMALL, stop_after="partition")


@pytest.fixture
def watched(partitioned: Plan, tiny_inputs) -> Watched:
    return Watched(api.calibration_on(partitioned, Dataset.of(tiny_inputs), Options()))


def test_without_data_every_vector_is_scaled_on_its_own(partitioned: Plan) -> None:
    plan = Quantize()(partitioned, SMALL)
    assert partitioned.quantized == ()
    assert plan.stage == "quantize"
    for layer, entry in zip(plan.layers, plan.quantized, strict=True):
        assert entry.input_scale is None
        assert entry.input_signed != layer.nonnegative_input
        assert (entry.gain == 1).all()
        assert (entry.importance == 1).all()
        np.testing.assert_array_equal(entry.bias, layer.bias)
        assert 0 < entry.weight_error < 0.1


@pytest.mark.parametrize("mapping", ["offset", "differential"])
def test_levels_that_are_not_evenly_spaced_need_no_data_either(
    mapping: str, tiny_model, tiny_inputs
) -> None:
    spacing = {
        "cell.levels": 5,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 18.0, 40.0],
    }
    image = api.compile(tiny_model(), SMALL.with_(**spacing).with_mapping(mapping))
    (wanted,) = golden(tiny_model(), {"x": tiny_inputs})
    (found,) = Session(image, converters=False).run(None, {"x": tiny_inputs})
    assert np.square(found - wanted).mean() < 0.3 * np.square(wanted).mean()


def test_two_runs_one_in_float_and_one_on_the_chip(
    partitioned: Plan, watched: Watched, tiny_model, tiny_inputs
) -> None:
    plan = Quantize(watched)(partitioned, SMALL)
    in_float, on_chip = watched.runs
    assert list(in_float) == list(on_chip) == [layer.name for layer in plan.layers]
    (wanted,) = golden(tiny_model(), {"x": tiny_inputs})
    np.testing.assert_allclose(in_float["w3"][1], wanted, rtol=1e-4, atol=1e-5)
    # The first layer gets the same inputs in both, the others what quantized ones give.
    assert np.array_equal(in_float["w1"][0], on_chip["w1"][0])
    assert not np.array_equal(in_float["w2"][0], on_chip["w2"][0])
    difference = on_chip["w2"][0] - in_float["w2"][0]
    assert np.square(difference).mean() < 0.01 * np.square(in_float["w2"][0]).mean()


def test_the_mean_of_every_column_is_that_of_the_float_network(
    partitioned: Plan, watched: Watched
) -> None:
    Quantize(watched)(partitioned, SMALL)
    in_float, on_chip = watched.runs
    for name in in_float:
        ours, wanted = (
            np.moveaxis(run[name][1], 1, 0).reshape(run[name][1].shape[1], -1)
            for run in (on_chip, in_float)
        )
        np.testing.assert_allclose(ours.mean(1), wanted.mean(1), rtol=1e-6, atol=1e-6)


def test_ranges_and_importance_are_those_of_the_inputs(partitioned: Plan, watched: Watched) -> None:
    plan = Quantize(watched)(partitioned, SMALL)
    for layer, entry in zip(plan.layers, plan.quantized, strict=True):
        x = watched.runs[1][layer.name][0]
        assert entry.input_scale is not None
        assert entry.input_signed == bool((x < 0).any())
        low, high = dac_limits(SMALL, entry.input_signed)
        codes = x / entry.input_scale
        assert codes.min() >= 3 * low - 1
        assert high / 4 < np.abs(codes).max() < 10 * high
        assert entry.importance.shape == (layer.groups, layer.rows)
        assert entry.importance.max() <= high**2


def test_what_an_ideal_chip_computes_is_what_was_planned(
    partitioned: Plan, watched: Watched, tiny_model, tiny_inputs
) -> None:
    Quantize(watched)(partitioned, SMALL)
    chosen = Options(equalize=False, purpose="as-programmed")
    image = api.compile(tiny_model(), SMALL, calib=tiny_inputs, options=chosen)
    (found,) = Session(image, converters=False).run(None, {"x": tiny_inputs})
    np.testing.assert_allclose(found, watched.runs[1]["w3"][1], rtol=1e-4, atol=1e-5)


def test_feedback_serves_the_outputs_better(tiny_model, tiny_inputs) -> None:
    """On inputs that resemble each other, and not at the cost of the weights' own error."""
    x = np.repeat(np.repeat(tiny_inputs[:, :, ::4, ::4], 4, axis=2), 4, axis=3)
    (wanted,) = golden(tiny_model(), {"x": x})
    errors, own = [], []
    for feedback in (False, True):
        options = Options(feedback=feedback)
        chip = SMALL.with_levels(4)
        image = api.compile(tiny_model(), chip, calib=x, options=options)
        (found,) = Session(image, converters=False).run(None, {"x": x})
        errors.append(float(np.square(found - wanted).mean()))
        own.append(image.layers[0].weight_error)
    assert errors[1] < 0.8 * errors[0]
    assert own[1] > own[0]


def test_sums_that_single_precision_holds_are_exact() -> None:
    """A wide product in which every sum is a whole number of steps, and one too wide for that."""
    for rows in (32, 4096):
        weight = drawn(rows, 4)
        model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", rows]}, {"w": weight})
        x = drawn(16, rows)
        plan = api.plan(model, Chip.default(), stop_after="partition")
        watched = Watched(api.calibration_on(plan, Dataset.of(x), Options()))
        entry = Quantize(watched)(plan, Chip.default()).quantized[0]
        assert entry.input_scale is not None
        low, high = dac_limits(Chip.default(), entry.input_signed)
        codes = np.clip(np.rint(x.astype(np.float64) / entry.input_scale), low, high)
        grid = Grid(entry.scale.astype(np.float64)[None], entry.zero[None])
        held = weights_of(codebook(Chip.default()), grid, entry.codes[:, :, :])[0]
        y = watched.runs[1]["w"][1]
        wanted = codes @ held * entry.input_scale
        np.testing.assert_allclose(y - y.mean(0), wanted - wanted.mean(0), rtol=1e-5, atol=1e-6)
