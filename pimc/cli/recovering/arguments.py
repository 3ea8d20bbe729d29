"""What ``pimc recover`` takes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import flag, group, named_by_user, option, several
from pimc.cli.options.single import device_option, die_option, image_argument
from pimc.cli.options.task import task_option
from pimc.cli.options.values import FILE, within
from pimc.cli.options.workers import WorkerOptions
from pimc.cli.recovering.dies import CALIB_HELP

if TYPE_CHECKING:
    from pimc.passes.recover.options import Trained

__all__ = ["RecoverArguments", "SteeringOptions"]


@dataclass(frozen=True)
class SteeringOptions:
    """What a recovery may do; a strategy names those of them that it looks at."""

    budget: float = option(
        "--budget",
        type=within(0, 100),
        default=10.0,
        metavar="PERCENT",
        help="Writes allowed, per cent of the image's cells.",
    )
    residual: float | None = option(
        "--residual",
        type=within(0, 100),
        metavar="PERCENT",
        help="Weights that the digital side may add, per cent of all [default: 0, `residual`: 5].",
    )
    rounds: int = option(
        "--rounds",
        type=click.IntRange(0),
        default=3,
        help="How many times cells are written and measured again.",
    )
    epochs: int = option(
        "--epochs", type=click.IntRange(0), default=6, help="Longest distillation; 0: none."
    )
    train: tuple[Trained, ...] = several(
        "--train",
        type=click.Choice(["gain", "bias", "ranges", "levels"]),
        help="What is trained; any number of times [default: gain and bias].",
    )

    @classmethod
    def given(cls) -> list[str]:
        """The names of those that the user gave."""
        return [one.name for one in fields(cls) if named_by_user(one.name)]


@dataclass(frozen=True)
class RecoverArguments:
    """What ``pimc recover`` takes."""

    image: Path | None = image_argument()
    calib: Path | None = option("--calib", type=FILE, metavar="DATA", help=CALIB_HELP)
    preprocess: DataOptions = group(DataOptions)
    data: Path | None = option(
        "--data", type=FILE, metavar="DATA", help="Labelled data to report the metric on."
    )
    die: Path | None = die_option()
    dies: int | None = option(
        "--dies", type=click.IntRange(1), help="Recover so many dies drawn from --seed on."
    )
    device: str = device_option()
    steering: SteeringOptions = group(SteeringOptions)
    task: str | None = task_option(
        "What the outputs mean: what they are held to, and the metric of --data; judged by their"
        " shape if not given, with accuracy as the metric."
    )
    strategy: tuple[str, ...] = several(
        "--strategy",
        type=click.STRING,
        metavar="NAME",
        help="What is done [default: selective]; with --compare any number of times.",
    )
    list_strategies: bool = flag(
        "--list-strategies", help="Show the installed strategies, and do nothing else."
    )
    compare: bool = flag(
        "--compare",
        help="All strategies (or those named) on the same --dies; writes"
        " IMAGE.compare.json/.md/.png.",
    )
    since: Path | None = option(
        "--since",
        type=FILE,
        metavar="REPORT",
        help="The die aged since this recovery: gains and offsets first, more only if needed.",
    )
    resume: bool = flag("--resume", help="Go on where an interrupted recovery stopped.")
    workers: WorkerOptions = group(WorkerOptions)
    output: Path | None = option(
        "-o", "--output", type=FILE, help="Default: IMAGE.r1.pimc, then .r2 and so on."
    )
