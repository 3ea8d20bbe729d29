"""What a recovered network is held to: the float network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pimc.passes.recover.twin.curvature import SLOPES
from pimc.passes.recover.twin.objectives import OTHER_OBJECTIVES
from pimc.tasks.find import task_named
from pimc.tasks.task import Distilled, Task

__all__ = ["TEMPERATURE", "Goal", "Objective", "Outputs", "error_of_mean"]

Outputs = Sequence[torch.Tensor]

#: Temperature of the distillation where nobody says otherwise.
TEMPERATURE = 3.0
#: Least probability told apart from zero.
_LEAST = 1e-7


@dataclass(frozen=True)
class Objective:
    """Distance of one output from the teacher's; all functions take (student, teacher) first.

    Attributes:
        classes: the largest value of a row names its class.
        loss: mean over the batch at a temperature; zero when both agree.
        each: (samples,) of which it is the mean.
        probe: a scalar whose squared gradient, in expectation over the generator, is the
            curvature of the loss (Fisher information; Gauss-Newton for values).
    """

    classes: bool
    loss: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    each: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    probe: Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Goal:
    """The objectives of all outputs of a network, added up.

    Attributes:
        temperature: at which classes are compared (Hinton et al. 2015, DOI
            10.48550/arXiv.1503.02531).
        kinds: what each output is held to.
    """

    parts: tuple[Objective, ...]
    temperature: float = TEMPERATURE
    kinds: tuple[str, ...] = ()

    @staticmethod
    def of(
        task: Task | str | None,
        wanted: Outputs,
        temperature: float = TEMPERATURE,
        states: Collection[int] = (),
    ) -> Goal:
        """The goal of a task or its name; without one, outputs are judged by their shape.

        Args:
            states: numbers of the outputs that are states: their values count.

        Raises:
            UsageError: there is no such task.
        """
        found = task_named(task) if isinstance(task, str) else task
        held_to: Distilled = "classes" if found is None else found.distills
        kinds = tuple(
            "values" if number in states else _kind(held_to, output)
            for number, output in enumerate(wanted)
        )
        return Goal(tuple(_OBJECTIVES[kind] for kind in kinds), temperature, kinds)

    def loss(self, found: Outputs, wanted: Outputs) -> torch.Tensor:
        """Distance of all outputs from the teacher's."""
        losses = [
            part.loss(ours, theirs, self.temperature)
            for part, ours, theirs in zip(self.parts, found, wanted, strict=True)
        ]
        return torch.stack(losses).sum()

    def each(self, found: Outputs, wanted: Outputs) -> torch.Tensor:
        """(samples,) distances of which the loss is the mean.

        None at all where outputs are not lists of equally many.
        """
        each = [
            part.each(ours, theirs, self.temperature)
            for part, ours, theirs in zip(self.parts, found, wanted, strict=True)
        ]
        if any(len(losses) != len(each[0]) for losses in each):
            return torch.empty(0)
        return torch.stack(each).sum(dim=0)

    def probe(self, found: Outputs, wanted: Outputs, generator: torch.Generator) -> torch.Tensor:
        """A scalar whose squared gradient is the loss's curvature in expectation."""
        probes = [
            part.probe(ours, theirs, generator)
            for part, ours, theirs in zip(self.parts, found, wanted, strict=True)
        ]
        return torch.stack(probes).sum()

    def slope(self, found: Outputs, wanted: Outputs, generator: torch.Generator) -> torch.Tensor:
        """A scalar whose squared gradient is the curvature of a sample's loss in expectation.

        Steadier than :meth:`probe`, and at the temperature of the loss.
        """
        slopes = [
            SLOPES[kind](ours, theirs, self.temperature, generator)
            for kind, ours, theirs in zip(self.kinds, found, wanted, strict=True)
        ]
        return torch.stack(slopes).sum()

    def agreement(self, found: Outputs, wanted: Outputs) -> float | None:
        """Share of samples to which the first list of classes gives the same; None without."""
        for part, ours, theirs in zip(self.parts, found, wanted, strict=True):
            if part.classes:
                return float((ours.argmax(1) == theirs.argmax(1)).float().mean())
        return None


def error_of_mean(values: torch.Tensor) -> float | None:
    """Standard error of the mean of some values; None of fewer than two."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def _kind(held_to: Distilled, output: torch.Tensor) -> str:
    """The objective of an output; where its shape is none of what it is held to: its values."""
    if held_to in OTHER_OBJECTIVES:
        return held_to if OTHER_OBJECTIVES[held_to].fits(output) else "values"
    listed = output.dim() == 2 and output.shape[1] > 1
    if not listed or held_to != "classes":
        return "values"
    total = output.sum(dim=1)
    probable = bool((output >= 0).all()) and bool(torch.allclose(total, torch.ones_like(total)))
    return "probabilities" if probable else "logits"


def _divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def _divergences(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    each = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="none",
        log_target=True,
    )
    return temperature**2 * each.sum(dim=1)


def _sampled_class(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    labels = torch.multinomial(F.softmax(teacher, dim=1), 1, generator=generator)[:, 0]
    return F.cross_entropy(student, labels, reduction="sum")


def _log_divergence(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    student, teacher = student.clamp_min(_LEAST), teacher.clamp_min(_LEAST)
    return _divergence(student.log(), teacher.log(), temperature)


def _log_divergences(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    student, teacher = student.clamp_min(_LEAST), teacher.clamp_min(_LEAST)
    return _divergences(student.log(), teacher.log(), temperature)


def _log_sampled_class(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    logs = student.clamp_min(_LEAST).log()
    return _sampled_class(logs, teacher.clamp_min(_LEAST).log(), generator)


def _relative_error(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Values have no temperature."""
    return F.mse_loss(student, teacher) / teacher.var(correction=0).clamp_min(1e-12)


def _relative_errors(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    squared = (student - teacher).square()
    by_sample = squared.reshape(len(squared), -1) if squared.dim() else squared.reshape(1, 1)
    return by_sample.mean(dim=1) / teacher.var(correction=0).clamp_min(1e-12)


def _random_direction(
    student: torch.Tensor, teacher: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    direction = torch.randn(student.shape, generator=generator)
    return (student * direction).sum()


_OBJECTIVES: dict[str, Objective] = {
    "logits": Objective(True, _divergence, _divergences, _sampled_class),
    "probabilities": Objective(True, _log_divergence, _log_divergences, _log_sampled_class),
    "values": Objective(False, _relative_error, _relative_errors, _random_direction),
    **{
        name: Objective(False, one.loss, one.each, one.probe)
        for name, one in OTHER_OBJECTIVES.items()
    },
}
