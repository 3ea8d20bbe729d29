"""What ``pimc recover`` takes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import flag, group, named_by_user, option, several
from pimc.cli.options.single import device_option, image_argument, picture_option
from pimc.cli.options.task import task_option
from pimc.cli.options.values import BYTES, FILE, NUMBER, STRATEGY, within
from pimc.cli.options.workers import WorkerOptions
from pimc.cli.recovering.dies import CALIB_HELP

if TYPE_CHECKING:
    from pimc.passes.recover.options import Trained

__all__ = ["RecoverArguments", "SteeringOptions", "TogetherOptions"]


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
class TogetherOptions:
    """What is told of several dies together."""

    table: Path | None = option(
        "--table",
        type=FILE,
        metavar="FILE",
        help="Of several dies one row each, .csv or .parquet [default: IMAGE.r1.dies.csv].",
    )
    map: Path | None = option(
        "--map", type=FILE, metavar="CSV", help="Where dies lie on the wafer: die,x,y."
    )
    target: float | None = option(
        "--target",
        type=NUMBER,
        metavar="V",
        help="What a die must reach on --data: 0.9, or 90 for per cent.",
    )
    max_drop: float | None = option(
        "--max-drop",
        type=within(0),
        metavar="V",
        help="By how much a die may be worse than the float network: points where the metric is in"
        " per cent, else in its own unit.",
    )
    min_yield: float | None = option(
        "--min-yield",
        type=within(0, 100),
        metavar="P",
        help="Exit with 1 if fewer per cent of the dies are within the target after recovery.",
    )

    @property
    def given(self) -> list[str]:
        """The flags of those that were given."""
        values = {
            "--table": self.table,
            "--map": self.map,
            "--target": self.target,
            "--max-drop": self.max_drop,
            "--min-yield": self.min_yield,
        }
        return [flag for flag, value in values.items() if value is not None]


@dataclass(frozen=True)
class RecoverArguments:
    """What ``pimc recover`` takes."""

    image: Path | None = image_argument()
    calib: Path | None = option("--calib", type=FILE, metavar="DATA", help=CALIB_HELP)
    preprocess: DataOptions = group(DataOptions)
    data: Path | None = option(
        "--data", type=FILE, metavar="DATA", help="Labelled data to report the metric on."
    )
    named: tuple[Path, ...] = several(
        "--die",
        type=FILE,
        metavar="DIE",
        help="A programmed die: a file, or what --device makes of it; any number of times, also"
        " '*.die', or @LIST with one a line. Without, one is drawn from --seed.",
    )
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
        type=STRATEGY,
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
    memory: int | None = option(
        "--memory",
        type=BYTES,
        metavar="SIZE",
        help="Memory that all workers on this machine may hold together, such as 4G; results do not"
        " depend on it [default: half of what there is].",
    )
    together: TogetherOptions = group(TogetherOptions)
    output: Path | None = option(
        "-o", "--output", type=FILE, help="Default: IMAGE.r1.pimc, then .r2 and so on."
    )
    picture: Path | None = picture_option(
        "The picture of several dies or of --compare [default: .png beside the table]."
    )

    @property
    def die(self) -> Path | None:
        """The die that is named, where it is a single one."""
        return self.named[0] if len(self.named) == 1 else None

    @property
    def several(self) -> bool:
        """Whether more than one die is named or drawn."""
        return len(self.named) > 1 or (self.dies or 0) > 1
