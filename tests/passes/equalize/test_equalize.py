"""Equalizing changes no output in float, helps where channels are uneven, and can be left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from pimc import api
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.passes.equalize.chains import Chain
from pimc.passes.equalize.equalize import rescaled
from pimc.plan.records import Layer
from pimc.runtime.session import Session
from tests.passes.equalize.test_chains import BETWEEN, OPAQUE, chain_of, drawn
from tests.passes.lowered_nets import golden, in_float, model_of, node

Floats = npt.NDArray[np.float32]
CHIP = Chip.default().with_array(64, 64)


def compiled(model: onnx.ModelProto, x: Floats, **options: Any) -> Image:
    return api.compile(model, CHIP, calib=x, options=api.Options(**options))


def error(image: Image, model: onnx.ModelProto, x: Floats) -> float:
    """Of perfect cells without converters of their own, over the outputs' variance."""
    (wanted,) = golden(model, {"x": x})
    (found,) = Session(image, converters=False).run(None, {"x": x})
    return float(np.square(found - wanted).mean() / wanted.var())


def uneven(model: onnx.ModelProto, by: float) -> onnx.ModelProto:
    """The same network, but that channels between its two layers differ in size by e^±by."""
    factor = np.exp(np.linspace(-by, by, 4)).astype(np.float32)
    for tensor in model.graph.initializer:
        shape = {"w": (4, 1, 1, 1), "b": (4,), "u": (1, 4, 1, 1)}.get(tensor.name)
        if shape is not None:
            scale = 1 / factor if tensor.name == "u" else factor
            values = numpy_helper.to_array(tensor) * scale.reshape(shape)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(BETWEEN)), max_size=4),
    opaque=st.sampled_from([None, *sorted(OPAQUE)]),
    depthwise=st.booleans(),
    seed=st.integers(0, 9),
)
def test_the_network_computes_the_same_whatever_the_scales(
    names: list[str], opaque: str | None, depthwise: bool, seed: int
) -> None:
    if opaque in ("sum", "pad channels"):  # of the shape of the first layer's outputs
        names = [opaque, *names]
    elif opaque is not None:
        names = [*names, opaque]
    rng = np.random.default_rng(seed)
    chains: list[Chain | None] = []

    def scale_of(layer: Layer, chain: Chain | None) -> npt.NDArray[np.float64]:
        chains.append(chain)
        window = layer.window
        taps = 1 if window is None else int(np.prod(window.kernel))
        return np.exp(rng.standard_normal(layer.groups * layer.rows // taps))

    model, x = chain_of(names, depthwise, seed), drawn(3, 4, 9, 9, seed=seed)
    plan = rescaled(api.plan(model, CHIP, stop_after="partition"), scale_of)
    image = api.compile(plan, CHIP, calib=x, options=api.Options(equalize=False))
    ((wanted,), (ours,)) = golden(model, {"x": x}), in_float(image, {"x": x})
    assert np.abs(ours - wanted).max() <= 2e-6 * np.abs(wanted).max()
    assert [chain is not None for chain in chains] == [False, opaque is None]


@pytest.mark.parametrize("name", ["relu", "clip"])
def test_the_image_holds_the_same_float_network(name: str) -> None:
    model, x = uneven(chain_of([name]), 1.5), drawn(16, 4, 9, 9)
    image = compiled(model, x)
    ((wanted,), (ours,)) = golden(model, {"x": x}), in_float(image, {"x": x})
    assert np.abs(ours - wanted).max() <= 2e-6 * np.abs(wanted).max()
    scaled, plain = (
        one.layers[1].teacher_weight for one in (image, compiled(model, x, equalize=False))
    )
    assert scaled is not None
    assert plain is not None
    assert not np.allclose(scaled, plain)


def test_uneven_channels_cost_nothing_any_more() -> None:
    """A network and the same one with channels of other sizes come out alike."""
    x, fresh = np.split(drawn(64, 4, 9, 9), 2)
    left = []
    for by in (0.0, 2.0):
        model = uneven(chain_of(["relu"]), by)
        left += [error(compiled(model, x, equalize=on), model, fresh) for on in (False, True)]
    even, _, plain, equalized = left
    assert plain > 3 * even
    assert equalized < 1.2 * even


def test_a_strong_input_behind_small_weights_is_scaled_digitally() -> None:
    """Of the network's own inputs no layer takes the scales over."""
    strength = np.where(np.arange(32) < 2, 60.0, 1.0).astype(np.float32)
    x, fresh = np.split(drawn(1200, 32) * strength, 2)
    w = drawn(32, 12) / strength[:, None]
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 32]}, {"w": w})
    plain, equalized = (compiled(model, x, equalize=on) for on in (False, True))
    assert [n.op_type for n in plain.graph().graph] == ["Array"]
    assert [n.op_type for n in equalized.graph().graph] == ["Mul", "Array"]
    assert error(equalized, model, fresh) < 0.5 * error(plain, model, fresh)


def test_without_calibration_data_nothing_is_scaled() -> None:
    model = uneven(chain_of(["relu"]), 2.0)
    on, off = (api.compile(model, CHIP, options=api.Options(equalize=e)) for e in (True, False))
    assert {**on.options, "equalize": False} == off.options
    assert np.array_equal(on.levels, off.levels)


def test_equal_inputs_give_equal_images() -> None:
    model, x = uneven(chain_of(["clip"]), 1.0), drawn(16, 4, 9, 9)
    assert compiled(model, x).to_bytes() == compiled(model, x).to_bytes()


def test_dead_channels_and_empty_columns_do_no_harm() -> None:
    model, x = chain_of(["relu"]), drawn(8, 4, 9, 9)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("w", "b"):
            values[1] = 0.0 if tensor.name == "w" else -1.0
        if tensor.name == "u":
            values[2], values[:, 3] = 0.0, 0.0
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    image = compiled(model, x)
    ((wanted,), (ours,)) = golden(model, {"x": x}), in_float(image, {"x": x})
    assert np.abs(ours - wanted).max() <= 2e-6 * np.abs(wanted).max()
    assert error(image, model, x) < 0.05
