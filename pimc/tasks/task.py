"""A task: what a network's outputs mean, the figure that is told, what recovery holds to it.

A laboratory's own task is a frozen dataclass that derives from :class:`Task`. It is named by an
entry point of the group ``pimc.tasks``, or as ``module:name``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError, PimcError, UsageError
from pimc.tasks.metric import Metric
from pimc.tasks.statistics import Interval, bootstrap_interval, normal_interval

__all__ = ["Array", "Distilled", "Samples", "Task", "first", "scored", "target"]

Array = npt.NDArray[Any]
#: What recovery holds an output to: :mod:`pimc.passes.recover.twin.goal` has the formulas.
Distilled = Literal["classes", "labels", "tokens", "pixels", "values", "directions"]


@dataclass(frozen=True)
class Samples:
    """Some samples, beside the outputs that a network gave for them.

    Attributes:
        inputs: the network's inputs by name.
        targets: what else the data say of these samples, by name; class numbers are under ``y``.
        wanted: the float network's outputs, for tasks that are held against them.
        where: name of the data, for errors.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]
    wanted: Mapping[str, Array] = field(default_factory=dict)
    where: str = "data"


class Task(Protocol):
    """What a network's outputs mean.

    A run over data gives ``scores`` batch by batch; ``units`` makes of all of them the rows that
    are drawn from many (samples, clips), and ``value`` the figure of those.

    Attributes:
        name: what users call it.
        metric: the figure that is told.
        distills: what recovery holds the outputs to.
        needs: names of targets without which there is no figure.
        uses: names of further targets, which the figure looks at where there are any.
        against_float: the figure is taken against the float network's outputs.
        whole: of a network with a state, all steps of a sequence are looked at together; else each
            step that there is a target for, or the last one.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    distills: ClassVar[Distilled]
    needs: ClassVar[tuple[str, ...]] = ("y",)
    uses: ClassVar[tuple[str, ...]] = ()
    against_float: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def scores(self, outputs: Mapping[str, Array], samples: Samples) -> Array:
        """(samples, …) what of the outputs the figure is made of.

        Args:
            outputs: those of :meth:`reads`, by name.

        Raises:
            DataError: targets that do not fit.
            UsageError: outputs that are none of this task.
        """
        ...

    def value(self, units: Array) -> float:
        """The figure; NaN where these units leave it undefined."""
        ...

    def check(self, targets: Mapping[str, Array], where: str) -> None:
        """Make sure, before anything runs, that data hold what the figure needs.

        Args:
            targets: of the first samples.

        Raises:
            DataError: they do not.
        """
        for name in self.needs:
            if name not in targets:
                raise DataError(
                    f"has no {name}, which the task {self.name} needs",
                    where,
                    f"save {name} beside the inputs, or name another --task",
                )

    def reads(self, outputs: Sequence[str]) -> Sequence[str]:
        """Which of the network's outputs are looked at: the first."""
        return outputs[:1]

    def units(self, scores: Array) -> Array:
        """(units, …) rows that are drawn from many, of the scores of all samples."""
        return scores

    def figures(self, units: Array) -> Mapping[str, Any]:
        """Further figures by name: numbers, or numbers by name."""
        return {}

    def influence(self, units: Array) -> Array | None:
        """(units,) what each adds to the figure; None: intervals are bootstrapped."""
        return None

    def resampled(self, value: Callable[[npt.NDArray[np.intp]], float], units: int) -> Interval:
        """95 % interval of a figure of which :meth:`influence` says nothing: the bootstrap.

        Args:
            value: the figure of the units at these indices.
            units: how many there are.
        """
        return bootstrap_interval(value, units)

    def interval(self, dies: Sequence[Array]) -> Interval:
        """95 % confidence interval of the mean over these dies on any samples.

        Args:
            dies: units of each die, of the same samples.
        """
        adds = [self.influence(units) for units in dies]
        known = [one for one in adds if one is not None]
        if len(known) == len(dies):
            mean = float(np.mean([self.value(units) for units in dies]))
            return normal_interval(mean, np.mean(known, axis=0))

        def again(chosen: npt.NDArray[np.intp]) -> float:
            return float(np.mean([self.value(units[chosen]) for units in dies]))

        return self.resampled(again, len(dies[0]))

    def differences(
        self, one: Sequence[Array], two: Sequence[Array]
    ) -> tuple[list[float], Interval]:
        """What the first condition has over the second on each die, and its mean on any samples.

        Args:
            one, two: units of each die, of the same samples.
        """
        each = [self.value(a) - self.value(b) for a, b in zip(one, two, strict=True)]
        ours, theirs = ([self.influence(units) for units in dies] for dies in (one, two))
        adds = [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
        if len(adds) == len(each):
            return each, normal_interval(float(np.mean(each)), np.mean(adds, axis=0))

        def again(chosen: npt.NDArray[np.intp]) -> float:
            pairs = zip(one, two, strict=True)
            return float(np.mean([self.value(a[chosen]) - self.value(b[chosen]) for a, b in pairs]))

        return each, self.resampled(again, len(one[0]))


def first(outputs: Mapping[str, Array]) -> Array:
    """The first of the outputs that a task reads."""
    return next(iter(outputs.values()))


def target(samples: Samples, name: str, shape: tuple[int, ...], kinds: str = "iub") -> Array:
    """A target that must have this shape and one of these kinds of numbers.

    Raises:
        DataError: there is none, or another.
    """
    found = samples.targets.get(name)
    if found is None:
        raise DataError(f"has no {name}", samples.where, f"save {name} beside the inputs")
    if found.shape != shape:
        raise DataError(
            f"{name} has shape {list(found.shape)} and must have {list(shape)} for these outputs",
            samples.where,
            "give one entry for each value that is judged",
        )
    if found.dtype.kind not in kinds:
        wanted = "real numbers" if "f" in kinds else "whole numbers"
        raise DataError(f"{name} holds {found.dtype}, not {wanted}", samples.where)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise DataError(f"NaN or infinity in {name}", samples.where, "clean the data")
    return found


def scored(task: Task, outputs: Mapping[str, Array], samples: Samples) -> Array:
    """What a task's figure is made of; a task that fails is told of by name.

    Raises:
        UsageError: it fails, or gives no array of samples.
        PimcError: what :meth:`Task.scores` raises.
    """
    where, hint = f"task {task.name}", "PIMC_DEBUG=1 shows the traceback"
    try:
        found = np.asarray(task.scores(outputs, samples))
    except PimcError:
        raise
    except Exception as cause:  # whatever a task of a user's own ends with
        why = f"scores: {type(cause).__name__}: {cause}"
        raise UsageError(why, where, hint) from cause
    if not found.ndim:
        raise UsageError("scores: gives a single value, not one a sample", where, hint)
    return found


def unlike(output: Array, wanted: str, name: str) -> UsageError:
    """The refusal of an output that is none of a task."""
    return UsageError(
        f"the output has shape {list(output.shape)}, not {wanted}",
        where=f"task {name}",
        hint="name the task that the network is for with --task",
    )
