"""Objectives of other tasks: zero where both agree, right by formula, curvature of the probe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.objectives import OTHER_OBJECTIVES
from tests.passes.recover.students import normal

SHAPES = {"labels": (6, 4), "tokens": (6, 5, 7), "pixels": (6, 7, 3, 2), "directions": (6, 8)}


def outputs(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    one, two = (torch.from_numpy(normal(*SHAPES[name], seed=seed)) for seed in (0, 1))
    return one, two


@pytest.mark.parametrize("name", SHAPES)
def test_an_objective_is_zero_exactly_where_both_agree(name) -> None:
    objective, (ours, theirs) = OTHER_OBJECTIVES[name], outputs(name)
    assert objective.fits(theirs)
    assert float(objective.loss(theirs, theirs, 2.0)) == pytest.approx(0, abs=1e-6)
    each = objective.each(ours, theirs, 2.0)
    assert each.shape == (6,)
    assert (each > 0.01).all()
    assert float(objective.loss(ours, theirs, 2.0)) == pytest.approx(float(each.mean()))


def test_the_divergence_of_labels_is_that_of_bernoulli_draws() -> None:
    ours, theirs = outputs("labels")
    p, q = (torch.sigmoid(x / 2).double().numpy() for x in (theirs, ours))
    wanted = 4 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=1)
    loss = OTHER_OBJECTIVES["labels"].each
    np.testing.assert_allclose(loss(ours, theirs, 2.0).numpy(), wanted, rtol=1e-3, atol=1e-5)
    # Probabilities say the same as the log odds they come from.
    again = loss(ours.sigmoid(), theirs.sigmoid(), 2.0)
    np.testing.assert_allclose(again.numpy(), wanted, rtol=1e-3, atol=1e-4)


def test_pixels_are_tokens_with_the_classes_on_axis_one() -> None:
    ours, theirs = outputs("pixels")
    last, wanted = (x.permute(0, 2, 3, 1) for x in (ours, theirs))
    pixels, tokens = OTHER_OBJECTIVES["pixels"], OTHER_OBJECTIVES["tokens"]
    assert torch.equal(pixels.each(ours, theirs, 3.0), tokens.each(last, wanted, 3.0))


@pytest.mark.parametrize("name", SHAPES)
def test_the_probe_has_the_curvature_of_the_loss(name) -> None:
    """E[(∂probe)²], added up over samples, is the second derivative of their summed loss."""
    objective, (_, theirs) = OTHER_OBJECTIVES[name], outputs(name)
    direction = torch.from_numpy(normal(*SHAPES[name], seed=2)).double()
    theirs = theirs.double()
    step = 1e-2
    ahead, back = (
        float(objective.each(theirs + sign * step * direction, theirs, 1.0).sum())
        for sign in (1, -1)
    )
    curvature = (ahead + back) / step**2
    generator, squares = torch.Generator().manual_seed(0), []
    for _ in range(3000):
        student = theirs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(objective.probe(student, theirs, generator), student)
        squares.append(float((slope * direction).sum()) ** 2)
    scale = 2.0 if name == "directions" else 1.0  # Gauss-Newton of a square, as for values
    assert scale * np.mean(squares) == pytest.approx(curvature, rel=0.1)


@pytest.mark.parametrize(
    ("task", "shape", "held_to"),
    [
        ("multi-label", (6, 4), "labels"),
        ("binary", (6, 1), "labels"),
        ("anomaly", (6, 4), "values"),
        ("regression", (6, 4), "values"),
        ("classification", (6, 4), "logits"),
        ("classification", (6, 4, 2), "values"),
    ],
)
def test_the_task_decides_what_outputs_are_held_to(task, shape, held_to) -> None:
    from pimc.passes.recover.twin import goal

    (part,) = Goal.of(task, [torch.from_numpy(normal(*shape))]).parts
    assert part is goal._OBJECTIVES[held_to]
