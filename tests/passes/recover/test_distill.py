"""Distillation brings the twin nearer to the float network, without labels, repeatably."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import ModelError
from pimc.image.image import Image
from pimc.passes.recover.distill import DistillOptions, Student, distill, influences
from pimc.passes.recover.identify import prior
from pimc.passes.recover.objective import Goal
from pimc.passes.recover.twin import Twin
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

CHIP = Chip.default().with_array(16, 8)
OPTIONS = DistillOptions(epochs=4, batch_size=16)


def model_of(
    nodes: list[Any], weights: dict[str, np.ndarray], x: list[Any], y: list[Any]
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def student_of(image: Image, spoil: float = 0.0) -> Student:
    """The twin of perfect cells with gains and biases ``spoil`` off."""
    session = Session(image)
    rng = np.random.default_rng(0)
    image = image.with_layers(
        replace(
            layer,
            gain=layer.gain * rng.normal(1, spoil, layer.gain.shape).astype(np.float32),
            bias=layer.bias + rng.normal(0, spoil, layer.bias.shape).astype(np.float32),
        )
        for layer in image.layers
    )
    estimates = {layer.index: prior(image, layer) for layer in image.layers}
    return Student(
        session.executor,
        Twin.of(image, estimates),
        teacher_array(image),
        session.get_inputs()[0].name,
        (session.get_outputs()[0].name,),
    )


def loss_of(student: Student, x: np.ndarray, task: Any = None) -> float:
    with torch.no_grad():
        wanted, _ = student.teach(torch.from_numpy(x))
        found, _ = student.run(torch.from_numpy(x), student.twin)
    return float(Goal.of(task, wanted).loss(found, wanted))


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
    wanted, _ = student.teach(torch.from_numpy(x[:8]))
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
        x = torch.from_numpy(tiny_inputs)
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


# --- how much layers matter --------------------------------------------------------------------


def test_influences_of_a_linear_network_are_known() -> None:
    """Two products in a row: the gradient at the first one's outputs is the second's weight."""
    w1, w2 = normal(6, 5), normal(5, 4, seed=1)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    x = normal(4000, 6, seed=2) * np.arange(1, 7, dtype=np.float32)
    image = compile_model(
        model_of(nodes, {"w1": w1, "w2": w2}, ["N", 6], ["N", 4]), CHIP, calib=x[:64]
    )
    student = student_of(image)
    goal = Goal.of("regression", [torch.zeros(2, 4)])
    generator = torch.Generator().manual_seed(0)
    found = influences(student, goal, Dataset.of(x), generator, batch_size=500)
    first, second = (found[layer.index] for layer in image.layers)
    assert first.moments.shape == (1, 6, 6)
    assert first.sensitivity.shape == (1, 5)
    np.testing.assert_allclose(first.moments[0], np.cov(x.T, bias=True), atol=1.5)
    np.testing.assert_allclose(second.sensitivity[0], 1.0, rtol=0.1)
    on = (x @ w1 > 0).mean(axis=0)
    np.testing.assert_allclose(first.sensitivity[0], on * (w2**2).sum(axis=1), rtol=0.15)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_objectives_are_zero_where_both_agree(task) -> None:
    goal = Goal.of(task, [torch.zeros(2, 4)])
    y = torch.from_numpy(normal(8, 4))
    assert float(goal.loss([y], [y])) == pytest.approx(0, abs=1e-6)
    assert float(goal.loss([y + torch.from_numpy(normal(8, 4, seed=1))], [y])) > 0.1


@pytest.mark.parametrize("temperature", [1.0, 3.0, 8.0])
def test_classes_are_compared_at_a_temperature(temperature) -> None:
    ours, theirs = (torch.from_numpy(5 * normal(16, 4, seed=seed)) for seed in (0, 1))
    p, q = (np.exp(x.numpy() / temperature) for x in (ours, theirs))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    wanted = temperature**2 * (q * np.log(q / p)).sum(axis=1).mean()
    for task in (None, "classification"):
        goal = Goal.of(task, [theirs], temperature)
        assert float(goal.loss([ours], [theirs])) == pytest.approx(wanted, rel=1e-4)


def test_the_task_is_judged_by_the_output() -> None:
    def loss(task: Any, student: torch.Tensor, teacher: torch.Tensor) -> float:
        return float(Goal.of(task, [teacher]).loss([student], [teacher]))

    student, teacher = torch.from_numpy(normal(4, 3)), torch.from_numpy(normal(4, 3, seed=1))
    logits = loss(None, student, teacher)
    assert (
        logits == loss("classification", student, teacher) != loss("regression", student, teacher)
    )
    # Probabilities say the same as the logits they come from.
    assert loss(None, student.softmax(1), teacher.softmax(1)) == pytest.approx(logits, rel=1e-3)
    # Neither a single column nor more than a list a sample names classes.
    for shape in ((4, 3, 1), (12, 1)):
        student, teacher = student.reshape(shape), teacher.reshape(shape)
        assert loss(None, student, teacher) == loss("regression", student, teacher) > 0


def test_the_goal_adds_up_the_outputs() -> None:
    ours = [torch.from_numpy(normal(4, 3)), torch.from_numpy(normal(4, 1, seed=2))]
    theirs = [torch.from_numpy(normal(4, 3, seed=1)), torch.from_numpy(normal(4, 1, seed=3))]
    single = [float(Goal.of(None, [t]).loss([o], [t])) for o, t in zip(ours, theirs, strict=True)]
    goal = Goal.of(None, theirs)
    assert float(goal.loss(ours, theirs)) == pytest.approx(sum(single))
    same = (ours[0].argmax(1) == theirs[0].argmax(1)).float().mean()
    assert goal.agreement(ours, theirs) == pytest.approx(float(same))
    assert Goal.of("regression", theirs).agreement(ours, theirs) is None
