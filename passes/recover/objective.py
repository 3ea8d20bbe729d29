"""What a recovered network is held to: the float network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

Task = Literal["classification", "regression"]

#: Temperature of the distillation (Hinton et al. 2015, DOI 10.48550/arXiv.1503.02531).
TEMPERATURE = 3.0


@dataclass(frozen=True)
class Objective:
    """Distance between outputs of student and teacher; each a function of (student, teacher).

    Attributes:
        loss: mean over the batch; zero when both agree.
        probe: a scalar whose squared gradient, in expectation over the generator, is the
            curvature of the loss (Fisher information; Gauss-Newton for values).
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    probe: Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]


def objective(task: Task | None, output: torch.Tensor) -> Objective:
    """The objective of a task; judged by the output's shape where no task is named."""
    return _OBJECTIVES[task or ("classification" if output.dim() == 2 else "regression")]


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return TEMPERATURE**2 * F.kl_div(
        F.log_softmax(student / TEMPERATURE, dim=1),
        F.log_softmax(teacher / TEMPERATURE, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def _sampled_class(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    labels = torch.multinomial(F.softmax(teacher, dim=1), 1, generator=generator)[:, 0]
    return F.cross_entropy(student, labels, reduction="sum")


def _relative_error(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(student, teacher) / teacher.var().clamp_min(1e-12)


def _random_direction(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    direction = torch.randn(student.shape, generator=generator)
    return (student * direction).sum()


_OBJECTIVES: dict[Task, Objective] = {
    "classification": Objective(_divergence, _sampled_class),
    "regression": Objective(_relative_error, _random_direction),
}
