"""Sequences of a network with a state: which of its steps a task judges.

A task that looks at whole sequences gets all steps in a row. Every other task judges each step as a
sample where the targets have an axis of steps, and the last step where they have none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from pimc.tasks.task import Array, Samples, Task

__all__ = ["judged", "judged_targets"]

#: Axes of an output that has a value a token or step: (samples, tokens, values).
_LISTED = 3


def judged(
    task: Task,
    outputs: Mapping[str, Array],
    samples: Samples,
    steps: int | None,
    stepped: Collection[str] = (),
) -> tuple[Mapping[str, Array], Samples]:
    """Outputs of sequences and what they are judged by, as the task takes them.

    Args:
        outputs: (samples, steps, …).
        steps: how many there are; None where there is no such axis.
        stepped: names of the inputs that have it.
    """
    if steps is None:
        return outputs, samples
    if task.whole:
        inputs = {n: _in_a_row(v, 2) if n in stepped else v for n, v in samples.inputs.items()}
        return {n: _in_a_row(v, _LISTED) for n, v in outputs.items()}, replace(
            samples, inputs=inputs
        )
    if not _by_step(task, samples.targets, steps):
        last = {n: v[:, -1] if n in stepped else v for n, v in samples.inputs.items()}
        found, wanted = ({n: v[:, -1] for n, v in o.items()} for o in (outputs, samples.wanted))
        return found, replace(samples, inputs=last, wanted=wanted)
    kept = _kept(task, samples.targets, steps)
    found, wanted, targets = (
        {name: _each(value, steps)[kept] for name, value in one.items()}
        for one in (outputs, samples.wanted, samples.targets)
    )
    inputs = {
        name: (_flat(value) if name in stepped else np.repeat(value, steps, axis=0))[kept]
        for name, value in samples.inputs.items()
        if value.ndim
    }
    return found, replace(samples, inputs=inputs, targets=targets, wanted=wanted)


def judged_targets(
    task: Task, targets: Mapping[str, Array], steps: int | None
) -> Mapping[str, Array]:
    """Targets of some sequences as the task gets them."""
    if steps is None or task.whole or not _by_step(task, targets, steps):
        return targets
    kept = _kept(task, targets, steps)
    return {name: _each(value, steps)[kept] for name, value in targets.items()}


def _by_step(task: Task, targets: Mapping[str, Array], steps: int) -> bool:
    needed = [targets[name] for name in task.needs if name in targets]
    return bool(needed) and all(_has(value, steps) for value in needed)


def _has(value: Array, steps: int) -> bool:
    return value.ndim > 1 and value.shape[1] == steps


def _each(value: Array, steps: int) -> Array:
    """(samples · steps, …); what a sequence has only one of is repeated."""
    return _flat(value) if _has(value, steps) else np.repeat(value, steps, axis=0)


def _flat(value: Array) -> Array:
    return value.reshape(-1, *value.shape[2:])


def _kept(task: Task, targets: Mapping[str, Array], steps: int) -> Array:
    """(samples · steps,) steps that count: those beyond a sequence's end have a negative class."""
    labels = targets.get("y")
    if labels is None or labels.ndim != 2 or labels.dtype.kind != "i":
        return np.ones(next(iter(targets.values())).shape[0] * steps, bool)
    if task.distills not in ("classes", "labels"):
        return np.ones(labels.size, bool)
    found: Array = labels.reshape(-1) >= 0
    return found


def _in_a_row(value: Array, axes: int) -> Array:
    """What each step gives, one after the other, where a step gives a list of its own."""
    if value.ndim <= axes:
        return value
    return value.reshape(len(value), value.shape[1] * value.shape[2], *value.shape[3:])
