"""Copies of layers: the same network, faster, within the budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.cost import layer_costs
from pimc.image.image import Image
from pimc.passes.layout.copies import pipeline_layers, share_out
from pimc.passes.layout.tile import Tiling
from pimc.studies.golden.verify import verify
from tests.passes.lowered_nets import drawn, golden, in_float, model_of, node

CHIP = Chip.default().with_array(16, 16)


def with_copies(model: onnx.ModelProto, budget: int | None, **given: Any) -> Image:
    options = api.Options(packing="parallel", copies=budget)
    return api.compile(model, CHIP, options=options, **given)


def assert_same_network(image: Image, model: onnx.ModelProto, x: np.ndarray) -> None:
    (ours,), (wanted,) = in_float(image, {"x": x}), golden(model, {"x": x})
    assert ours.shape == wanted.shape
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, np.ndarray]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    size, kernel, strides, dilations = each(3, 9), each(1, 3), each(1, 3), each(1, 2)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations}
    padding = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID", None]))
    if padding is None:
        attributes["pads"] = each(0, 2, 2 * rank)
    else:
        # ONNX Runtime knows no dilation with it.
        attributes = {"strides": strides, "auto_pad": padding}
        dilations = [1] * rank
    covered = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    assume(all(c <= length for c, length in zip(covered, size, strict=True)))
    groups = draw(st.integers(1, 2))
    weights = {"w": drawn(2 * groups, 2, *kernel), "b": drawn(2 * groups)}
    conv = node("Conv", ["x", "w", "b"], ["y"], group=groups, **attributes)
    x = drawn(2, 2 * groups, *size)
    return model_of([conv], {"x": ["N", *x.shape[1:]]}, weights), x


@settings(deadline=None, max_examples=60)
@given(convolutions(), st.integers(0, 54))
def test_convolutions_with_copies_are_the_same_network(
    drawn_net: tuple[onnx.ModelProto, np.ndarray], spare: int
) -> None:
    model, x = drawn_net
    tiled = Tiling()(api.plan(model, CHIP, stop_after="partition"), CHIP)
    budget = sum(stage.arrays for stage in pipeline_layers(tiled, CHIP)) + spare
    image = with_copies(model, budget)
    assert image.arrays <= budget
    assert_same_network(image, model, x)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(2, 30))
def test_products_with_copies_are_the_same_network(lead: list[int], budget: int) -> None:
    x = drawn(2, *lead, 5)
    nodes = [node("MatMul", ["x", "w"], ["u"]), node("Add", ["u", "b"], ["y"])]
    model = model_of(nodes, {"x": ["N", *lead, 5]}, {"w": drawn(5, 6), "b": drawn(6)})
    image = with_copies(model, budget)
    (layer,) = image.layers
    vectors = int(np.prod(lead))
    assert layer.groups <= min(budget, vectors)
    # As many as help: what is left over is too little for one line less a copy.
    assert -(-vectors // layer.groups) == -(-vectors // min(budget, vectors))
    assert_same_network(image, model, x)


def network() -> tuple[onnx.ModelProto, np.ndarray]:
    """Two convolutions, the second after a ReLU, and a classifier."""
    nodes = [
        node("Conv", ["x", "a"], ["u"], pads=[1] * 4),
        node("Relu", ["u"], ["v"]),
        node("Conv", ["v", "b"], ["w"], strides=[2, 2]),
        node("Flatten", ["w"], ["f"]),
        node("Gemm", ["f", "c", "d"], ["y"], transB=1),
    ]
    weights = {
        "a": drawn(8, 2, 3, 3),
        "b": drawn(4, 8, 3, 3),
        "c": drawn(3, 36),
        "d": drawn(3),
    }
    return model_of(nodes, {"x": ["N", 2, 8, 8]}, weights), drawn(48, 2, 8, 8)


@pytest.mark.parametrize("budget", [12, 20, 40, 100])
def test_the_image_is_as_fast_as_the_plan_says(budget: int) -> None:
    model, x = network()
    image = with_copies(model, budget, calib=x)
    plan = Tiling()(api.plan(model, CHIP, stop_after="partition"), CHIP)
    every = pipeline_layers(plan, CHIP)
    chosen = share_out(every, budget)
    assert [e.name for e in image.layers] == ["a", "b", "c"]
    assert tuple(e.groups for e in image.layers) == chosen.copies
    times = [cost.latency_ns for cost in layer_costs(image) if cost is not None]
    wanted = [s.interval_ns(n) for s, n in zip(every, chosen.copies, strict=True)]
    assert times == pytest.approx(wanted)
    assert max(times) == pytest.approx(chosen.interval_ns)
    assert image.arrays <= budget
    assert verify(image, {"x": x[:8]}).ok
    assert_same_network(image, model, x)


def test_copies_of_a_layer_after_a_relu_keep_their_unsigned_inputs() -> None:
    model, x = network()
    image = with_copies(model, 100, calib=x)
    assert [layer.input_signed for layer in image.layers][:2] == [True, False]
    assert image.layers[1].groups > 1


def test_scales_of_a_quantized_model_reach_the_copies() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Conv", ["d", "w"], ["y"], pads=[1] * 4),
    ]
    weights = {"s": np.float32(0.02), "z": np.uint8(0), "w": drawn(4, 2, 3, 3)}
    image = with_copies(model_of(nodes, {"x": ["N", 2, 6, 6]}, weights), 30)
    (layer,) = image.layers
    assert layer.groups > 1
    assert layer.input_scale == pytest.approx(0.02)
    assert not layer.input_signed


@pytest.mark.parametrize(("value", "kept"), [("zero", True), ("one", False), ("most", False)])
def test_scales_do_not_hold_for_what_a_pad_adds(value: str, kept: bool) -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Pad", ["d", "pads", value], ["p"]),
        node("Conv", ["p", "w"], ["y"]),
    ]
    weights = {
        "s": np.float32(0.02),
        "z": np.uint8(0),
        "w": drawn(4, 2, 3, 3),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "zero": np.float32(0),
        "one": np.float32(1.234),
    }
    model = model_of(nodes, {"x": ["N", 2, 6, 6]}, weights)
    (layer,) = with_copies(model, None).layers
    assert (layer.input_scale == pytest.approx(0.02)) is kept


@pytest.mark.parametrize("pattern", ["*conv*", "u/*", "w#2", "w"])
@pytest.mark.parametrize("budget", [6, 8, 30])
def test_copies_change_neither_names_nor_what_is_kept_digital(pattern: str, budget: int) -> None:
    """Two layers of one weight that is used differently, and a third."""
    nodes = [
        node("Conv", ["x", "w"], ["u"], pads=[1] * 4),
        node("Conv", ["u", "w"], ["v"], pads=[2] * 4, dilations=[2, 2]),
        node("Conv", ["v", "k"], ["y"]),
    ]
    model = model_of(nodes, {"x": ["N", 4, 6, 6]}, {"w": drawn(4, 4, 3, 3), "k": drawn(2, 4, 1, 1)})
    alone, copied = (
        api.plan(
            model,
            CHIP.with_array(64, 64),
            options=api.Options(digital=(pattern,), copies=count, packing="parallel"),
            stop_after="partition",
        )
        for count in (None, budget)
    )
    windows = [
        [(layer.name, layer.window and layer.window.dilations) for layer in plan.layers]
        for plan in (alone, copied)
    ]
    assert windows[0] == windows[1]
    assert any(layer.groups > 1 for layer in copied.layers)


def test_tied_weights_are_not_copied() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["u"]),
        node("Relu", ["u"], ["v"]),
        node("MatMul", ["v", "w"], ["y"]),
    ]
    model = model_of(nodes, {"x": ["N", 6, 4]}, {"w": drawn(4, 4)})
    image = with_copies(model, 50)
    assert [layer.groups for layer in image.layers] == [1]


def test_layers_in_bodies_stay_single_while_others_are_copied() -> None:
    """An LSTM's own products run in a loop; what goes into it and comes out does not."""
    nodes = [
        node("MatMul", ["x", "a"], ["u"]),
        node("LSTM", ["u", "w", "r"], ["h"], hidden_size=3),
        node("Squeeze", ["h", "one"], ["s"]),
        node("MatMul", ["s", "c"], ["y"]),
    ]
    weights = {"a": drawn(4, 5), "w": drawn(1, 12, 5), "r": drawn(1, 12, 3), "c": drawn(3, 2)}
    model = model_of(nodes, {"x": ["T", 6, 4]}, weights | {"one": np.array([1])})
    image = with_copies(model, 40)
    groups = {layer.name: layer.groups for layer in image.layers}
    assert groups["a"] > 1
    assert groups["r"] == 1
    x = drawn(5, 6, 4)
    assert_same_network(image, model, x)


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
def test_float16_stays_float16(op: str) -> None:
    half = np.float16
    weights = {"w": (drawn(6, 4, 3) if op == "Conv" else drawn(4, 6)).astype(half)}
    sizes = (4, 8) if op == "Conv" else (8, 4)
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node(op, ["h", "w"], ["v"]),
        node("Cast", ["v"], ["y"], to=TensorProto.FLOAT),
    ]
    model, x = model_of(nodes, {"x": ["N", *sizes]}, weights), drawn(3, *sizes)
    image = with_copies(model, 20)
    (layer,) = image.layers
    assert layer.groups > 1
    ours, wanted = in_float(image, {"x": x})[0], golden(model, {"x": x})[0]
    np.testing.assert_allclose(ours, wanted, rtol=2e-3, atol=2e-3)
    moved = [n for n in image.graph().graph if n.op_type in ("Reshape", "Transpose", "Concat")]
    assert moved
    assert {n.outputs[0].dtype for n in moved} == {ir.DataType.FLOAT16}


def test_copies_that_would_share_arrays_are_refused() -> None:
    with pytest.raises(UsageError, match="gain nothing") as caught:
        api.Options(copies=20)
    assert "parallel" in (caught.value.hint or "")


def test_a_budget_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="one copy of every layer takes"):
        with_copies(network()[0], 2)
