"""Distillation brings the twin nearer to the float network, without labels, repeatably."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, helper

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.errors import ModelError
from pimc.passes.recover.train.distill import DistillOptions, distill
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.write.influence import influences
from tests.passes.recover.students import CHIP, loss_of, model_of, normal, student_of

OPTIONS = DistillOptions(epochs=4, batch_size=16)


def train(
    student: Student, x: np.ndarray, *, seed: int = 0, task: Any = None, **changes: Any
) -> list[int]:
    """The epochs that were judged."""
    epochs: list[int] = []
    stop = changes.pop("stop", None)

    def judge(epoch: int) -> bool:
        epochs.append(epoch)
        return epoch != stop

    options = DistillOptions(**{**vars(OPTIONS), **changes})
    generator = torch.Generator().manual_seed(seed)
    wanted, _ = student.teach({"x": torch.from_numpy(x[:8])})
    goal = Goal.of(task, wanted)
    distill(student, goal, Dataset.of(x), options, generator, judge=judge)
    return epochs


# --- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_loss_falls_on_data_it_did_not_see(tiny_image, tiny_inputs, task) -> None:
    student = student_of(tiny_image, spoil=0.15)
    seen, unseen = tiny_inputs[:48], tiny_inputs[48:]
    before = loss_of(student, unseen, task)
    assert train(student, seen, task=task, learning_rate=1e-2, epochs=8) == list(range(8))
    assert loss_of(student, unseen, task) < 0.5 * before


def test_only_gains_and_biases_change_and_each_of_them(tiny_image, tiny_inputs) -> None:
    student = student_of(tiny_image, spoil=0.1)
    kernels = {name: layer.kernel.clone() for name, layer in student.twin.layers.items()}
    before = student.twin.on(tiny_image).layers
    train(student, tiny_inputs)
    for name, layer in student.twin.layers.items():
        torch.testing.assert_close(layer.kernel, kernels[name], rtol=0, atol=0)
    for old, new in zip(before, student.twin.on(tiny_image).layers, strict=True):
        for was, value in ((old.gain, new.gain), (old.bias, new.bias)):
            assert np.isfinite(value).all()
            assert (value != was).mean() > 0.9


def test_same_seed_same_result_other_seed_another(tiny_image, tiny_inputs) -> None:
    results = []
    for seed in (3, 3, 4):
        student = student_of(tiny_image, spoil=0.1)
        train(student, tiny_inputs, seed=seed)
        found = student.twin.on(tiny_image)
        results.append(np.concatenate([layer.gain for layer in found.layers]))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_the_judge_may_stop_it(tiny_image, tiny_inputs) -> None:
    assert train(student_of(tiny_image), tiny_inputs, stop=1) == [0, 1]
    assert train(student_of(tiny_image), tiny_inputs, epochs=0) == []


def test_features_alone_reach_inner_layers(tiny_image, tiny_inputs) -> None:
    """The outputs' loss alone leaves the first layer further away than with features."""

    def away(features: float) -> float:
        student = student_of(tiny_image, spoil=0.15)
        train(student, tiny_inputs, features=features, learning_rate=1e-2, epochs=6)
        x = {"x": torch.from_numpy(tiny_inputs)}
        with torch.no_grad():
            _, wanted = student.teach(x)
            _, found = student.run(x, student.twin)
        name = tiny_image.layers[0].name, 0
        return float((found[name] - wanted[name]).square().mean())

    assert away(1.0) < 0.7 * away(0.0)


@pytest.mark.parametrize("samples", [17, 33, 47])
def test_a_rest_of_one_sample_does_not_spoil_the_training(samples) -> None:
    """One output: the variance of a batch of a single sample would be undefined."""
    weights = {"w1": normal(6, 12), "w2": normal(12, 1, seed=1)}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    x = normal(samples, 6, seed=2)
    image = compile_model(model_of(nodes, weights, ["N", 6], ["N", 1]), CHIP, calib=x)
    student = student_of(image, spoil=0.2)
    before = loss_of(student, x, "regression")
    train(student, x, task="regression", learning_rate=1e-2)
    assert loss_of(student, x, "regression") < before


# --- gradients that end ------------------------------------------------------------------------


def rounded_between() -> ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Floor", ["h"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["y"]),
    ]
    weights = {"w1": normal(6, 12), "w2": normal(12, 4, seed=1)}
    return model_of(nodes, weights, ["N", 6], ["N", 4])


def test_an_operator_without_gradient_is_named() -> None:
    x = normal(32, 6, seed=2)
    image = compile_model(rounded_between(), CHIP, calib=x)
    student = student_of(image)
    for what in (
        student.check_gradients,
        lambda: train(student, x),
        lambda: influences(
            student, Goal.of(None, [torch.zeros(2, 4)]), Dataset.of(x), torch.Generator()
        ),
    ):
        with pytest.raises(ModelError, match="Floor") as caught:
            what()
        assert caught.value.where == "y"
        assert caught.value.hint


def test_layers_before_codes_are_trained() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "s", "z"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["y"]),
    ]
    weights = {
        "w1": normal(6, 12),
        "w2": normal(12, 4, seed=1),
        "s": np.asarray(np.float32(0.05)),
        "z": np.asarray(np.int8(0)),
    }
    x = normal(64, 6, seed=2)
    image = compile_model(model_of(nodes, weights, ["N", 6], ["N", 4]), CHIP, calib=x)
    student = student_of(image, spoil=0.2)
    gains = [twin.gain.detach().clone() for twin in student.twin.layers.values()]
    before = loss_of(student, x)
    train(student, x, learning_rate=1e-2)
    assert loss_of(student, x) < before
    for old, twin in zip(gains, student.twin.layers.values(), strict=True):
        assert not torch.equal(old, twin.gain)


def test_an_operator_without_gradient_before_all_layers_is_fine() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    weights = {"w": normal(6, 4), "s": np.asarray(np.float32(0.02)), "z": np.asarray(np.int8(0))}
    x = normal(32, 6, seed=2)
    image = compile_model(model_of(nodes, weights, ["N", 6], ["N", 4]), CHIP, calib=x)
    student = student_of(image, spoil=0.2)
    before = loss_of(student, x)
    train(student, x, learning_rate=1e-2)
    assert loss_of(student, x) < before
