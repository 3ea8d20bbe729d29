"""Slopes of outputs against the loss that they are the curvature of."""

from __future__ import annotations

import pytest
import torch

from pimc.passes.recover.twin.curvature import SLOPES
from pimc.passes.recover.twin.goal import Goal

#: Outputs (samples, ...) that are held to each kind, and the task that does so.
OUTPUTS = {
    "logits": (lambda g: 3 * torch.randn(4, 6, generator=g), "classification"),
    "probabilities": (
        lambda g: torch.softmax(2 * torch.randn(4, 6, generator=g), dim=1), "classification",
    ),
    "values": (lambda g: torch.randn(4, 5, generator=g), "regression"),
    "labels": (lambda g: 2 * torch.randn(4, 3, generator=g), "multi-label"),
    "tokens": (lambda g: 2 * torch.randn(4, 3, 6, generator=g), "language-model"),
    "pixels": (lambda g: 2 * torch.randn(4, 6, 3, 2, generator=g), "segmentation"),
    "directions": (lambda g: torch.randn(4, 5, generator=g), "embedding"),
}  # fmt: skip


def test_every_kind_has_one() -> None:
    assert SLOPES.keys() == OUTPUTS.keys()


@pytest.mark.parametrize("kind", sorted(OUTPUTS))
def test_half_the_squared_product_is_the_loss_of_a_small_error(kind) -> None:
    make, task = OUTPUTS[kind]
    generator = torch.Generator().manual_seed(3)
    wanted = make(generator)
    goal = Goal.of(task, [wanted])
    assert goal.kinds == (kind,)
    error = 1e-2 * torch.randn(wanted.shape, generator=generator)
    if kind == "probabilities":  # an error that keeps their sum
        error = wanted * (error - (wanted * error).sum(dim=1, keepdim=True))
    loss = float(goal.loss([(wanted + error).double()], [wanted.double()]))
    found = wanted.clone().requires_grad_()
    squares = []
    for _ in range(3000):
        (gradient,) = torch.autograd.grad(goal.slope([found], [wanted], generator), [found])
        squares.append((gradient * error).flatten(1).sum(dim=1).square().mean())
    assert float(torch.stack(squares).mean()) / 2 == pytest.approx(loss, rel=0.1)
