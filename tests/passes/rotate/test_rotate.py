"""Rotations change no output in float, spread outliers, and are refused where they are not free."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.runtime.session import Session
from tests.passes.lowered_nets import golden, in_float, model_of, node
from tests.passes.rotate.test_streams import PASSES, middle
from tests.passes.rotate.transformer_nets import bert_like, gpt_like, llama_like, tokens

CHIP = Chip.default().with_array(64, 64)


def compiled(model: onnx.ModelProto, **options: Any) -> Image:
    return api.compile(model, CHIP, options=api.Options(**options))


def off(image: Image, model: onnx.ModelProto) -> float:
    """Distance of the float network from ONNX Runtime's outputs, over the largest."""
    ids = tokens()
    ((wanted,), (ours,)) = golden(model, {"ids": ids}), in_float(image, {"ids": ids})
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 99), form=st.sampled_from(["op", "nodes"]))
@pytest.mark.parametrize("net", ["llama", "gpt", "bert"])
def test_the_network_computes_the_same(net: str, seed: int, form: str) -> None:
    model = {
        "llama": lambda: llama_like(seed),
        "gpt": lambda: gpt_like(seed, form),
        "bert": lambda: bert_like(seed, form),
    }[net]()
    assert off(compiled(model, rotate=True), model) < 5e-6


@pytest.mark.parametrize("name", sorted(PASSES)[::3])
def test_whatever_it_passes(name: str) -> None:
    _, model = middle(PASSES[name])
    assert off(compiled(model, rotate=True), model) < 5e-6


def test_weights_and_constants_are_others() -> None:
    model = llama_like()
    plain, rotated = (compiled(model, rotate=on) for on in (False, True))
    for one, other in zip(plain.layers, rotated.layers, strict=True):
        assert one.name == other.name
        assert one.teacher_weight is not None
        assert other.teacher_weight is not None
        # Queries' and keys' columns, and gates' and inner channels, are no streams; rows are.
        assert not np.allclose(one.teacher_weight, other.teacher_weight)


def with_outliers(model: onnx.ModelProto, by: float) -> onnx.ModelProto:
    """Two channels of the residual stream far larger than the others, in all that writes it."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 2 and values.shape[-1] == 16 and values.shape[0] in (11, 24):
            values = values * np.where(np.arange(16) < 2, by, 1.0).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def test_outliers_of_the_stream_cost_less() -> None:
    model, ids = with_outliers(llama_like(blocks=1), 20.0), tokens(64)
    (wanted,) = golden(model, {"ids": tokens(64, seed=1)})
    errors = []
    for on in (False, True):
        options = api.Options(rotate=on, equalize=False)
        image = api.compile(model, CHIP, calib={"ids": ids}, options=options)
        (ours,) = Session(image).run(None, {"ids": tokens(64, seed=1)})
        errors.append(float(np.square(ours - wanted).mean()))
    assert errors[1] < 0.8 * errors[0]


def test_where_nothing_is_free_it_is_refused() -> None:
    x = np.ones((2, 4), np.float32)
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"w": np.eye(4, dtype=np.float32)}
    )
    with pytest.raises(UsageError, match="no channels can be rotated"):
        api.compile(model, CHIP, calib=x, options=api.Options(rotate=True))


def test_equal_inputs_give_equal_images() -> None:
    model = gpt_like()
    one, other = (compiled(model, rotate=True) for _ in range(2))
    assert one.to_bytes() == other.to_bytes()
    assert one.options["rotate"] is True
    assert "rotate" not in compiled(model).options
