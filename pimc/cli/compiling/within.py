"""``pimc compile --max-drop``: the fewest cells with which a network stays near the float one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.options.fields import option, several
from pimc.cli.options.task import keyed, task_of, task_option, told_of
from pimc.cli.text import facts, table

if TYPE_CHECKING:
    from pimc.chip.design import Chip
    from pimc.chip.fault_map import FaultMap
    from pimc.cli.command import Settings
    from pimc.data.dataset import Dataset
    from pimc.passes.options import Options
    from pimc.passes.own import OwnPasses
    from pimc.plan.records import Plan
    from pimc.studies.spending.choice import Choice
    from pimc.studies.spending.damage import State
    from pimc.tasks.task import Task

__all__ = ["WithinOptions", "chosen", "result_of", "text_of"]


@dataclass(frozen=True)
class WithinOptions:
    """``--max-drop``, and what belongs to it."""

    max_drop: float | None = option(
        "--max-drop",
        type=click.FloatRange(0),
        metavar="V",
        help="Choose mappings with which the metric is worse than the float network's by no more"
        " than V on held-out samples of --calib, with the fewest cells; exit with 1 if there are"
        " none. Points where the metric is in per cent, else in its own unit.",
    )
    task: str | None = task_option(
        "What the outputs mean, and the metric of --max-drop [default: classification; without"
        " labels agreement with the float network]."
    )
    tried: tuple[str, ...] = several(
        "--try",
        type=click.STRING,
        metavar="KIND",
        help="A mapping that --max-drop may choose; may be given again  [default: offset,"
        " differential, sliced:2, sliced:3].",
    )
    drop_dies: int = option(
        "--drop-dies",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="Hold the drop on N drawn dies as they are programmed; 0: on perfect cells.",
    )

    def check(self, *, calib: bool, others: dict[str, bool]) -> None:
        """Make sure that options fit together.

        Args:
            calib: there are calibration data.
            others: by option, whether it is given; none of them goes with ``--max-drop``.

        Raises:
            UsageError: they do not.
        """
        from pimc.errors import UsageError

        if self.max_drop is None:
            given = {"--task": self.task, "--try": self.tried, "--drop-dies": self.drop_dies}
            alone = [name for name, value in given.items() if value]
            if alone:
                raise UsageError(f"{', '.join(alone)} given without --max-drop")
            return
        if not calib:
            raise UsageError("--max-drop is held on calibration data", hint="give --calib")
        clash = [name for name, value in others.items() if value]
        if clash:
            raise UsageError(f"--max-drop does not go with {', '.join(clash)}")

    def state(self, seeds: tuple[int, ...]) -> State:
        """What the drop is held on; ``seeds`` are of the dies."""
        from pimc.studies.spending.damage import State

        return State(seeds if self.drop_dies else ())

    @property
    def kinds(self) -> tuple[str, ...]:
        """Mappings to try."""
        from pimc.studies.spending.damage import KINDS

        return self.tried or KINDS

    @property
    def judged_by(self) -> Task:
        """The task."""
        return task_of(self.task)

    @property
    def allowed(self) -> float:
        """The drop that is allowed, in the metric's own unit."""
        return (self.max_drop or 0.0) / self.judged_by.metric.scale


def chosen(
    within: WithinOptions,
    plan: Plan,
    chip: Chip,
    calib: Dataset,
    options: Options,
    passes: OwnPasses,
    faults: FaultMap | None,
    settings: Settings,
) -> Choice:
    """The mappings with which the drop holds, and the image."""
    from pimc.studies.spending.choice import choose

    return choose(
        plan,
        chip,
        calib,
        within.allowed,
        task=within.judged_by,
        options=options,
        kinds=within.kinds,
        state=within.state(settings.seeds(within.drop_dies)),
        passes=passes,
        faults=faults,
        progress=settings.progress,
    )


def result_of(choice: Choice, within: WithinOptions) -> dict[str, Any]:
    """The JSON object of a choice."""
    task = within.judged_by
    measured = {one.number: one for one in choice.checked}
    front = [
        {
            "cells": point.cells,
            "damage": point.damage,
            "accuracy_mean": measured[number].value if number in measured else None,
            "drop": measured[number].drop if number in measured else None,
        }
        for number, point in enumerate(choice.points)
    ]
    found = {
        **told_of(task),
        "agreement": choice.agreement,
        "samples": choice.samples,
        "max_drop": within.allowed,
        "float_accuracy": choice.in_float,
        "accuracy_mean": choice.chosen.value,
        "drop": choice.chosen.drop,
        "ok": choice.reached,
        "limit": choice.limit or None,
        "front": [keyed(task, one) for one in front],
        "layers": [
            {
                "name": name,
                **asdict(choice.chosen.point.offers[number]),
                "offers": [asdict(offer) for offer in choice.offers[number]],
                "why": choice.why(number),
            }
            for number, name in enumerate(choice.layers)
        ],
    }
    return keyed(task, found)


def text_of(choice: Choice, within: WithinOptions, limit: int) -> str:
    """The same for people.

    Args:
        limit: rows of the table of layers.
    """
    metric, taken = within.judged_by.metric, choice.chosen
    weights = sum(min(o.cells for o in offers) for offers in choice.offers)
    front = [
        (
            f"{one.point.cells:,}",
            f"{one.point.cells / weights:.2f}",
            f"{one.point.damage:.3g}",
            metric.text(one.value),
            metric.number(one.drop),
            "taken" if one.number == taken.number else ("holds" if one.holds else "–"),
        )
        for one in choice.checked
    ]
    shown = table(("cells", "of the fewest", "damage", metric.name, "drop", ""), front)
    layers = [
        (name, offer.mapping, f"{offer.cells:,}", f"{offer.damage:.2g}", choice.why(number))
        for number, (name, offer) in enumerate(zip(choice.layers, taken.point.offers, strict=True))
    ]
    listed = table(("layer", "mapping", "cells", "damage", "why"), layers, limit=limit)
    what = "agreement with the float network" if choice.agreement else metric.name
    verdict = "kept" if choice.reached else "NOT kept; this is the best that was found"
    told = facts(
        [
            ("held to", f"{what} on {choice.samples:,} held-out samples"),
            ("float", metric.text(choice.in_float)),
            (
                "drop",
                f"{metric.number(taken.drop)} of {metric.number(within.allowed)} allowed, "
                f"{verdict}",
            ),
            ("limited by", choice.limit),
        ]
    )
    return f"{listed}\n\n{shown}\n\n{told}"
