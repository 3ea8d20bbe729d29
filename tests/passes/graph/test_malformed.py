"""Who is to blame for a failure: a model that ONNX's checker refuses, or the compiler."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.errors import ModelError, UsageError
from pimc.passes.graph.malformed import blaming

Change = Callable[[onnx.ModelProto], object]


def _no_type(model: onnx.ModelProto) -> None:
    (attribute,) = (a for a in model.graph.node[-1].attribute if a.name == "transB")
    attribute.ClearField("type")


def _one_input(model: onnx.ModelProto) -> None:
    del model.graph.node[-1].input[1:]


def _old_and_undefined(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 11
    model.graph.node[2].input[0] = "nowhere"


def _old_and_short(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 11
    del model.graph.node[4].input[:]


def _unknown_type_beside_the_array(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.add(name="pads").ints.extend([1, 1])


@pytest.mark.parametrize(
    "change",
    [_unknown_type_beside_the_array, _no_type, _one_input, _old_and_undefined, _old_and_short],
)
def test_a_malformed_model_is_refused_in_one_sentence(tiny_model, change: Change) -> None:
    model = tiny_model()
    change(model)
    with pytest.raises(ModelError) as caught:
        compile_model(model, Chip.default())
    assert caught.value.where == "tiny.onnx"
    assert "\n" not in caught.value.message
    assert not caught.value.message.endswith(".")


def test_a_failure_on_a_sound_model_stays_what_it_is(tiny_model) -> None:
    with pytest.raises(KeyError, match="a mistake"), blaming(tiny_model(), "tiny.onnx"):
        raise KeyError("a mistake")


@pytest.mark.parametrize("cause", [UsageError("too many"), MemoryError()])
def test_what_says_what_it_is_goes_on(tiny_model, cause: Exception) -> None:
    model = tiny_model()
    _one_input(model)
    with pytest.raises(type(cause)), blaming(model, "tiny.onnx"):
        raise cause
