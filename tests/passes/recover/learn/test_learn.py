"""Learned rounding through the front door: what it gains, keeps, leaves alone and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pimc import api
from pimc.chip.codebook import codebooks
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.data.dataset import Dataset
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.options import Options
from pimc.passes.recover.learn.layer import LearnedLayer
from pimc.passes.recover.learn.learn import Learned
from pimc.passes.recover.learn.network import Networks, float_layers
from pimc.passes.recover.learn.rebuild import LearnOptions
from pimc.passes.recover.twin.goal import Goal
from pimc.plan.records import Plan
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import Session
from tests.conftest import build_tiny_model
from tests.passes.lowered_nets import drawn, golden, model_of, node

CHIP = Chip.default().with_array(16, 8).with_levels(4)
X = np.random.default_rng(1).standard_normal((256, 2, 8, 8)).astype(np.float32)
#: Enough to see that it learns.
SHORT = LearnOptions(steps=40, epochs=1, batch_size=16)


def quantized(model: onnx.ModelProto, x: np.ndarray = X, chip: Chip = CHIP, **options) -> Plan:
    return api.plan(model, chip, calib={"x": x}, options=Options(**options), stop_after="quantize")


def learned(plan: Plan, x: np.ndarray = X, chip: Chip = CHIP, **changes) -> tuple[Plan, list[str]]:
    options = replace(SHORT, **{k: v for k, v in changes.items() if k != "noise"})
    made = Learned(Dataset.of({"x": x}), changes.get("noise", 0.0), options)
    found, notes = made(plan, chip)
    return found, list(notes)


def error(plan: Plan, model: onnx.ModelProto, x: np.ndarray, chip: Chip = CHIP) -> float:
    """Distance of perfect cells' outputs from the float network's."""
    (wanted,) = (torch.from_numpy(y) for y in golden(model, {"x": x}))
    (found,) = Session(api.compile(plan, chip)).run(None, {"x": x})
    states = [0] if wanted.shape[1:] == x.shape[1:] else []
    return float(Goal.of(None, [wanted], states=states).loss([torch.from_numpy(found)], [wanted]))


def losses(notes: list[str]) -> list[float]:
    """On held-out calibration data before and after."""
    return [float(text) for text in notes[0].split("data ")[1].split(" → ")]


def dense() -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "w1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["g"]),
        node("Relu", ["g"], ["s"]),
        node("MatMul", ["s", "w3"], ["y"]),
    ]
    weights = {"w1": drawn(48, 48) / 7, "w2": drawn(48, 48) / 7, "w3": drawn(48, 10) / 3}
    return model_of(nodes, {"x": ["N", 48]}, weights)


def correlated(seed: int, count: int = 512) -> np.ndarray:
    """Inputs that go together, as those of real networks do."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).standard_normal((8, 48))
    values = rng.standard_normal((count, 8)) @ common + 0.3 * rng.standard_normal((count, 48))
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def before() -> Plan:
    return quantized(build_tiny_model())


@pytest.fixture(scope="module")
def after(before: Plan) -> tuple[Plan, list[str]]:
    return learned(before)


def test_outputs_come_nearer_to_the_float_network() -> None:
    model, fresh = dense(), correlated(9)
    plan = quantized(model, correlated(1))
    found, notes = learned(plan, correlated(1), steps=150)
    assert error(found, model, fresh) < 0.85 * error(plan, model, fresh)
    assert notes[0].startswith("loss on held-out calibration data")
    assert len(notes) == 1


def test_equal_inputs_give_equal_values_and_the_plan_before_stays(before: Plan, after) -> None:
    again, _ = learned(quantized(build_tiny_model()))
    for one, other in zip(after[0].quantized, again.quantized, strict=True):
        np.testing.assert_array_equal(one.codes[:, :, :], other.codes[:, :, :])
        for name in ("scale", "bias", "importance"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.input_scale, one.adc_lsb_us) == (other.input_scale, other.adc_lsb_us)
    fresh = quantized(build_tiny_model())
    for one, other in zip(before.quantized, fresh.quantized, strict=True):
        np.testing.assert_array_equal(one.bias, other.bias)
        np.testing.assert_array_equal(one.scale, other.scale)


def test_training_that_only_harms_is_not_kept(before: Plan) -> None:
    found, notes = learned(before, rate=30.0, scale_rate=3.0, bias_rate=30.0, steps=4)
    for one, other in zip(before.quantized, found.quantized, strict=True):
        np.testing.assert_array_equal(one.codes[:, :, :], other.codes[:, :, :])
        np.testing.assert_array_equal(one.scale, other.scale)
        np.testing.assert_array_equal(one.bias, other.bias)
        assert one.adc_lsb_us == other.adc_lsb_us
    first, last = losses(notes)
    assert first == last


@pytest.mark.parametrize(
    ("mapping", "changes"),
    [
        ({}, {}),
        ({"*": "sliced:2", "w2": "differential"}, {}),
        ({"w1": "differential:rows"}, {"adc.range": "column"}),
        ({}, {"dac.mode": "bit_serial"}),
        ({}, {"dac.signed": False}),
    ],
)
def test_layers_compute_what_the_ideal_chip_does(mapping, changes) -> None:
    chip = CHIP.with_(**changes)
    plan = quantized(build_tiny_model(), chip=chip, mapping=mapping)
    assert_like_the_chip(plan, chip)
    assert_like_the_chip(learned(plan, chip=chip, steps=3, epochs=0)[0], chip)


def assert_like_the_chip(plan: Plan, chip: Chip) -> None:
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    made = zip(plan.layers, plan.quantized, books, strict=True)
    layers = {layer.name: LearnedLayer(layer, entry, chip, book) for layer, entry, book in made}
    networks = Networks(Executor(plan.graph), layers, float_layers(plan.layers))
    with torch.no_grad():
        ours = networks.ours({"x": torch.from_numpy(X)}, {}, ["y"])["y"].numpy()
    (theirs,) = Session(api.compile(plan, chip)).run(None, {"x": X})
    spread = theirs.std()
    assert np.abs(ours - theirs).max() < 0.05 * spread  # a code that lies between two may differ
    assert np.abs(ours - theirs).mean() < 1e-4 * spread


@settings(max_examples=8, deadline=None)
@given(
    levels=st.sampled_from([2, 3, 4, 16]),
    mapping=st.sampled_from(["offset", "differential", "sliced:2"]),
    rate=st.sampled_from([1e-2, 1.0, 30.0]),
    seed=st.integers(0, 9),
)
def test_codes_stay_in_the_codebook(levels: int, mapping: str, rate: float, seed: int) -> None:
    chip = Chip.default().with_array(16, 8).with_levels(levels)
    plan = quantized(build_tiny_model(seed=seed), X[:24], chip, mapping={"*": mapping})
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    for layer, entry, book in zip(plan.layers, plan.quantized, books, strict=True):
        trained = LearnedLayer(layer, entry, chip, book)
        np.testing.assert_array_equal(trained.codes().numpy(), entry.codes[:, :, :])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            pushed = torch.randn(trained.asked_us.shape, generator=generator)
            trained.asked_us.add_(rate * trained.spread_us * pushed)
        codes = trained.now().codes[:, :, :]
        assert codes.max() < len(book.values_us)
        assert trained.now().scale.min() > 0


def test_write_errors_are_drawn_while_training_where_they_count(before: Plan) -> None:
    (quiet, _), (noisy, _) = (learned(before, noise=noise) for noise in (0.0, 1.0))
    for other in (before, quiet):
        assert any(
            (one.codes[:, :, :] != two.codes[:, :, :]).any()
            for one, two in zip(noisy.quantized, other.quantized, strict=True)
        )


def test_the_image_notes_it_only_where_it_was_asked_for() -> None:
    options = Options(learn_rounding=True)
    plan = quantized(build_tiny_model())
    assert "learn_rounding" not in api.compile(plan, CHIP, calib=X).options
    found, notes = learned(plan)
    finished = replace(found, stage="learn", notes=tuple(f"learned rounding: {n}" for n in notes))
    image: Image = api.compile(finished, CHIP, calib=X, options=options)
    assert image.options["learn_rounding"] == list(finished.notes)


def test_without_data_it_is_refused() -> None:
    with pytest.raises(UsageError, match="needs calibration data"):
        api.compile(build_tiny_model(), CHIP, options=Options(learn_rounding=True))


def test_it_does_not_go_with_known_faults() -> None:
    with pytest.raises(UsageError, match="settle around known faults"):
        api.compile(
            build_tiny_model(), CHIP, calib=X, faults=FaultMap(()),
            options=Options(learn_rounding=True),
        )  # fmt: skip


# --- kinds of networks --------------------------------------------------------------------------


def depthwise() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "d"], ["h"], group=6, pads=[1, 1, 1, 1]),
        node("Clip", ["h", "low", "high"], ["r"]),
        node("Conv", ["r", "p"], ["z"]),
        node("GlobalAveragePool", ["z"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    weights = {
        "d": drawn(6, 1, 3, 3),
        "p": drawn(8, 6, 1, 1),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return model_of(nodes, {"x": ["N", 6, 8, 8]}, weights)


def attention() -> onnx.ModelProto:
    """Scores of queries and keys, both of the same sequence; a residual sum."""
    nodes = [
        node("MatMul", ["x", "wq"], ["q"]),
        node("MatMul", ["x", "wk"], ["k"]),
        node("MatMul", ["x", "wv"], ["v"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Softmax", ["s"], ["a"], axis=-1),
        node("MatMul", ["a", "v"], ["c"]),
        node("MatMul", ["c", "wo"], ["o"]),
        node("Add", ["o", "x"], ["h"]),
        node("MatMul", ["h", "w1"], ["u"]),
        node("Relu", ["u"], ["r"]),
        node("MatMul", ["r", "w2"], ["e"]),
        node("Add", ["e", "h"], ["y"]),
    ]
    weights = {name: drawn(8, 8) / (3 + k) for k, name in enumerate(("wq", "wk", "wv", "wo"))}
    weights |= {"w1": drawn(8, 16) / 3, "w2": drawn(16, 8) / 4}
    return model_of(nodes, {"x": ["N", 5, 8]}, weights)


def tied() -> onnx.ModelProto:
    """A layer that two nodes use, and one of its own."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    return model_of(nodes, {"x": ["N", 8]}, {"w": drawn(8, 8), "v": drawn(8, 4)})


def looping() -> onnx.ModelProto:
    """A layer in the body of an If, and one behind."""
    bodies = [
        helper.make_graph(
            [node("MatMul", ["x", weight], [f"out.{weight}"])],
            f"with.{weight}",
            [],
            [helper.make_tensor_value_info(f"out.{weight}", TensorProto.FLOAT, ["N", 8])],
        )
        for weight in ("u", "t")
    ]
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["h"], then_branch=bodies[0], else_branch=bodies[1]),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    weights = {"u": drawn(8, 8), "t": drawn(8, 8) / 2, "v": drawn(8, 4), "zero": np.float32(0)}
    return model_of(nodes, {"x": ["N", 8]}, weights)


@pytest.mark.parametrize(
    ("model", "shape", "left"),
    [
        (depthwise(), (6, 8, 8), []),
        (attention(), (5, 8), []),
        (tied(), (8,), ["w"]),
        (looping(), (8,), ["u", "t"]),
    ],
    ids=["depthwise", "attention", "tied", "control flow"],
)
def test_networks_of_all_kinds(model: onnx.ModelProto, shape: tuple[int, ...], left) -> None:
    x = np.abs(np.random.default_rng(3).standard_normal((256, *shape))).astype(np.float32)
    plan = quantized(model, x)
    found, notes = learned(plan, x)
    assert losses(notes)[1] <= losses(notes)[0]
    assert error(found, model, x) < 1.05 * error(plan, model, x)
    kept = {
        layer.name
        for layer, one, other in zip(plan.layers, plan.quantized, found.quantized, strict=True)
        if one is other
    }
    assert kept == set(left)  # those that were trained are new, even where nothing was gained
    assert len(notes) == (2 if left else 1)
    for name in left:
        assert name in notes[1]
