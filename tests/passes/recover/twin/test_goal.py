"""What a network is held to: its outputs against the float network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.passes.recover.twin.goal import Goal, error_of_mean
from tests.passes.recover.students import normal


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


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_error_of_the_loss_is_that_of_a_mean_over_samples(task) -> None:
    ours, theirs = (torch.from_numpy(normal(40, 4, seed=seed)) for seed in (0, 1))
    goal = Goal.of(task, [theirs])
    each = goal.each([ours], [theirs])
    assert float(each.mean()) == pytest.approx(float(goal.loss([ours], [theirs])), rel=1e-5)
    expected = np.std(each.numpy(), ddof=1) / 40**0.5
    assert error_of_mean(each) == pytest.approx(expected, rel=1e-5)


def test_a_single_sample_or_outputs_of_other_lengths_have_no_error() -> None:
    one, many = torch.ones(1, 4), torch.ones(6, 4)
    assert error_of_mean(Goal.of("regression", [one]).each([one], [one])) is None
    both = [many, torch.ones(3)]
    assert error_of_mean(Goal.of("regression", both).each(both, both)) is None


def test_states_are_values_whatever_their_shape() -> None:
    """A state of (samples, values) lists no classes, and a probability is none of it."""
    output, state = torch.randn(8, 3), torch.randn(8, 5)
    for task in (None, "binary"):
        goal = Goal.of(task, [output, state], states=[1])
        moved = [output, 2 * state]
        away = (state.square().mean() / state.var(correction=0)).item()
        assert float(goal.loss(moved, [output, state])) == pytest.approx(away, rel=1e-5)
