"""``--max-drop`` of ``pimc compile``: the least cost with which a network stays near the float one.

``pimc layouts`` shares what layers may be, see :class:`TryOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import group, option, several
from pimc.cli.options.task import task_of, task_option
from pimc.cli.options.values import FILE, within

if TYPE_CHECKING:
    from pimc.chip.design import Chip
    from pimc.chip.fault_map import FaultMap
    from pimc.cli.command import Settings
    from pimc.data.dataset import Dataset
    from pimc.passes.options import Options
    from pimc.passes.own import OwnPasses
    from pimc.plan.records import Plan
    from pimc.studies.spending.choice import Choice
    from pimc.studies.spending.cost import Minimize
    from pimc.studies.spending.offers import Trials
    from pimc.tasks.task import Task

__all__ = ["TryOptions", "WithinOptions", "chosen"]


@dataclass(frozen=True)
class TryOptions:
    """What layers may be, and what is to be saved."""

    tried: tuple[str, ...] = several(
        "--try",
        type=click.STRING,
        metavar="KIND",
        help="A mapping that layers may get, or digital; may be given again  [default: offset,"
        " differential, sliced:2, sliced:3; where cells or arrays are saved, and without --copies,"
        " digital].",
    )
    ranges: tuple[str, ...] = several(
        "--try-range",
        type=click.STRING,
        metavar="WHAT",
        help="A way to choose the ADC's range that layers may get, as percentile:100, beside that"
        " of the chip; may be given again.",
    )
    minimize: Minimize = option(
        "--minimize",
        type=click.Choice(["cells", "arrays", "energy", "latency"]),
        default="cells",
        help="What is to be saved.",
    )
    digital_price: float | None = option(
        "--digital-price",
        type=within(0),
        metavar="V",
        help="What counts for digital layers: cells a weight, or pJ or ns for a product and sum "
        " [default: 8 cells, 4.6 pJ, 0.0039 ns].",
    )

    @property
    def given(self) -> list[str]:
        """Those that were given."""
        named = {
            "--try": self.tried,
            "--try-range": self.ranges,
            "--minimize": self.minimize != "cells",
            "--digital-price": self.digital_price is not None,
        }
        return [name for name, value in named.items() if value]

    @property
    def trials(self) -> Trials:
        """What is tried.

        Raises:
            UsageError: a range that is not understood.
        """
        from pimc.passes.quantize.adc_choice import parse_range
        from pimc.studies.spending.cost import Price
        from pimc.studies.spending.offers import Trials

        for text in self.ranges:
            parse_range(text)
        return Trials(self.tried, self.ranges, Price(self.minimize, self.digital_price))


@dataclass(frozen=True)
class WithinOptions:
    """``--max-drop``, and what belongs to it."""

    max_drop: float | None = option(
        "--max-drop",
        type=within(0),
        metavar="V",
        help="Choose mappings with which the metric is worse than the float network's by no more"
        " than V on held-out samples of --calib, with the fewest cells; exit with 1 if there are"
        " none. Points where the metric is in per cent, else in its own unit.",
    )
    task: str | None = task_option(
        "What the outputs mean, and the metric of --max-drop [default: classification; without"
        " labels agreement with the float network]."
    )
    trying: TryOptions = group(TryOptions)
    drop_dies: int = option(
        "--drop-dies",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="Hold the drop on N drawn dies, too, in the state that --for names; 0: on perfect"
        " cells alone.",
    )
    front: Path | None = option(
        "--front", type=FILE, metavar="FILE.png|FILE.svg", help="A picture of cost against drop."
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
        from pimc.pictures.canvas import require_picture

        require_picture(self.front)
        if self.max_drop is None:
            given = {"--task": self.task, "--drop-dies": self.drop_dies, "--front": self.front}
            alone = [*(name for name, value in given.items() if value), *self.trying.given]
            if alone:
                raise UsageError(f"{', '.join(alone)} given without --max-drop")
            return
        if not calib:
            raise UsageError("--max-drop is held on calibration data", hint="give --calib")
        clash = [name for name, value in others.items() if value]
        if clash:
            raise UsageError(f"--max-drop does not go with {', '.join(clash)}")

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
    from pimc.studies.spending.judge import State

    return choose(
        plan,
        chip,
        calib,
        within.allowed,
        task=within.judged_by,
        options=options,
        trials=within.trying.trials,
        state=State(
            settings.seeds(within.drop_dies) if within.drop_dies else (),
            recover=options.serves(calibrated=True) == "recovery",
            task=within.task,
        ),
        passes=passes,
        faults=faults,
        progress=settings.progress,
    )
