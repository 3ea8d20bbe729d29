"""Distances of outputs that are neither one list of classes a sample nor plain values.

Each is a mean over samples of what a sample is away from the float network, zero where both agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pimc.tasks.task import Distilled

__all__ = ["OTHER_OBJECTIVES", "OtherObjective"]

#: Least probability told apart from zero, and from one.
_LEAST = 1e-6


@dataclass(frozen=True)
class OtherObjective:
    """What an output is held to.

    Attributes:
        fits: whether an output has the shape for it.
        each: (samples,) distances of a student from the teacher at a temperature.
        probe: as of :class:`~pimc.passes.recover.twin.goal.Objective`.
    """

    fits: Callable[[torch.Tensor], bool]
    each: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    probe: Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]

    def loss(
        self, student: torch.Tensor, teacher: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        """Mean over the samples."""
        return self.each(student, teacher, temperature).mean()


def _log_odds(values: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Outputs as log odds; those of a network that gives probabilities are turned into them."""
    if bool((teacher >= 0).all()) and bool((teacher <= 1).all()):
        return torch.logit(values, _LEAST)
    return values


def _labels(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divergence of independent yes-or-no labels, added up over the labels of a sample."""
    ours, theirs = (_log_odds(x, teacher).flatten(1) / temperature for x in (student, teacher))
    wanted = theirs.sigmoid()
    away = F.binary_cross_entropy_with_logits(ours, wanted, reduction="none")
    least = F.binary_cross_entropy_with_logits(theirs, wanted, reduction="none")
    return temperature**2 * (away - least).sum(dim=1)


def _sampled_labels(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    ours, theirs = _log_odds(student, teacher), _log_odds(teacher, teacher)
    labels = torch.bernoulli(theirs.sigmoid(), generator=generator)
    return F.binary_cross_entropy_with_logits(ours, labels, reduction="sum")


def _divergences(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divergence over the last axis, mean over all positions of a sample."""
    ours, theirs = (F.log_softmax(x / temperature, dim=-1) for x in (student, teacher))
    each = (theirs.exp() * (theirs - ours)).sum(dim=-1)
    return temperature**2 * each.flatten(1).mean(dim=1)


def _sampled_tokens(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    classes = teacher.shape[-1]
    odds = F.softmax(teacher, dim=-1).reshape(-1, classes)
    drawn = torch.multinomial(odds, 1, generator=generator)[:, 0]
    told = F.cross_entropy(student.reshape(-1, classes), drawn, reduction="sum")
    return told / math.sqrt(odds.shape[0] / max(student.shape[0], 1))


def _channels_last(values: torch.Tensor) -> torch.Tensor:
    return values.movedim(1, -1)


def _pixels(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    return _divergences(_channels_last(student), _channels_last(teacher), temperature)


def _sampled_pixels(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    return _sampled_tokens(_channels_last(student), _channels_last(teacher), generator)


def _directions(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Squared distance of unit vectors, 2 − 2 cos; directions have no temperature."""
    ours, theirs = (F.normalize(x.flatten(1), dim=1) for x in (student, teacher))
    return (ours - theirs).square().sum(dim=1)


def _random_direction(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    ours = F.normalize(student.flatten(1), dim=1)
    return (ours * torch.randn(ours.shape, generator=generator)).sum()


#: By what :attr:`pimc.tasks.task.Task.distills` names.
OTHER_OBJECTIVES: Mapping[Distilled, OtherObjective] = {
    "labels": OtherObjective(lambda y: y.dim() >= 1, _labels, _sampled_labels),
    "tokens": OtherObjective(lambda y: y.dim() >= 3, _divergences, _sampled_tokens),
    "pixels": OtherObjective(lambda y: y.dim() >= 3, _pixels, _sampled_pixels),
    "directions": OtherObjective(lambda y: y.dim() >= 2, _directions, _random_direction),
}
