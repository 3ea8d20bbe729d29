"""``pimc recover --compare``: strategies side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from pimc.cli.command import Report, Settings
from pimc.cli.recovering.arguments import RecoverArguments
from pimc.cli.text import facts, percent, table

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.passes.recover.options import RecoverOptions
    from pimc.studies.compare import Outcome
    from pimc.studies.evaluate import Batches

__all__ = ["compared"]

_HEADER = (
    "strategy", "before", "after", "agrees with float", "cells rewritten", "digital weights",
    "array reads", "time",
)  # fmt: skip


def compared(
    settings: Settings,
    path: Path,
    image: Image,
    calib: Dataset,
    labelled: Batches | None,
    options: RecoverOptions,
    arguments: RecoverArguments,
) -> Report:
    """Run the strategies on the same dies; writes the table and the picture beside the image."""
    from pimc.errors import UsageError
    from pimc.files.atomic import replacing
    from pimc.passes.recover.bench.floor import with_perfect_cells
    from pimc.passes.recover.strategies import strategies, strategy_named
    from pimc.pictures.recovery import layers_picture
    from pimc.runtime.die.die import Die
    from pimc.runtime.door.drivers import simulates
    from pimc.runtime.session import Session
    from pimc.studies.compare import compare
    from pimc.studies.evaluate import accuracy, float_session

    if arguments.die is not None or not simulates(arguments.device):
        raise UsageError(
            "strategies can be compared on simulated dies only",
            hint="every strategy needs the die as it was programmed: use --dies N",
        )
    if arguments.resume:
        raise UsageError("a comparison cannot be resumed", hint="leave out --resume")
    if arguments.since is not None:
        raise UsageError("a comparison is of freshly written dies", hint="leave out --since")
    start = time.perf_counter()
    names = list(dict.fromkeys(arguments.strategy)) or [found.name for found in strategies()]
    for name in names:
        strategy_named(name)
    seeds = settings.seeds(arguments.dies or 1)
    in_float = ideal = floor = None
    if labelled is not None:
        perfect = Session(with_perfect_cells(image), die=Die.simulated(seeds[0]), seed=seeds[0])
        floor = accuracy(perfect, labelled, progress=settings.progress)
        in_float = accuracy(float_session(image), labelled, progress=settings.progress)
        ideal = accuracy(Session(image), labelled, progress=settings.progress)
    with arguments.workers.open() as pool:
        outcomes = compare(
            image,
            calib,
            labelled,
            names,
            seeds,
            options,
            driver=arguments.device,
            pool=pool,
            progress=settings.progress,
        )
    output = arguments.output or path.with_suffix(".compare.json")
    total = int(image.used.sum())
    rows = [_row([one for one in outcomes if one.strategy == name], total) for name in names]
    data = {
        "output": str(output),
        "float_accuracy": in_float,
        "quantized_accuracy": ideal,
        "floor_accuracy": floor,
        "calibration_samples": len(calib),
        "cells_total": total,
        "dies": seeds,
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "seconds": round(time.perf_counter() - start, 3),
    }
    with replacing(output) as stream:
        stream.write((json.dumps(data, indent=1) + "\n").encode())
    with replacing(output.with_suffix(".md")) as stream:
        stream.write(_markdown(rows).encode())
    if in_float is not None:
        _picture(output.with_suffix(".png"), names, outcomes, total, (in_float, floor))
    layers_picture(output.with_suffix(".layers.png"), *_layer_errors(names, outcomes))
    head = facts(
        [
            ("float", percent(in_float)),
            ("quantized", percent(ideal)),
            ("floor", percent(floor)),
            ("dies", str(len(seeds))),
        ]
    )
    return Report(data, f"{head}\n\n{table(_HEADER, rows)}", answer=False)


def _row(outcomes: Sequence[Outcome], total: int) -> tuple[str, ...]:
    """A strategy's line: means, and standard deviations over dies of the accuracies."""
    return (
        outcomes[0].strategy,
        _over_dies([one.accuracy_before for one in outcomes]),
        _over_dies([one.accuracy_after for one in outcomes]),
        _over_dies([one.agreement for one in outcomes]),
        percent(mean(one.cells_rewritten for one in outcomes) / total, 1),
        f"{mean(one.residual_weights for one in outcomes):,.0f}",
        _counted([one.reads for one in outcomes]),
        f"{mean(one.seconds for one in outcomes):.0f} s",
    )


def _counted(reads: Sequence[int | None]) -> str:
    """Mean number of reads; a dash where no device counts them."""
    known = [count for count in reads if count is not None]
    return f"{mean(known):,.0f}" if known else percent(None)


def _over_dies(values: Sequence[float | None]) -> str:
    from pimc.studies.evaluate import deviation

    known = [value for value in values if value is not None]
    if not known:
        return percent(None)
    if len(known) == 1:
        return percent(known[0])
    return f"{100 * mean(known):.2f} ± {100 * deviation(known):.2f} %"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [_HEADER, ("---", *["---:"] * (len(_HEADER) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _layer_errors(
    names: Sequence[str], outcomes: Sequence[Outcome]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Errors of the layers before, and after each strategy; means over the dies."""

    def averaged(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {layer: mean(errors[layer] for errors in found) for layer in found[0]}

    before = averaged([one.errors_before for one in outcomes])
    return before, {
        name: averaged([one.errors_after for one in outcomes if one.strategy == name])
        for name in names
    }


def _picture(
    path: Path,
    names: Sequence[str],
    outcomes: Sequence[Outcome],
    total: int,
    across: tuple[float, float | None],
) -> None:
    from pimc.pictures.recovery import strategies_picture

    points = {
        name: [
            (one.cells_rewritten / total, one.accuracy_after)
            for one in outcomes
            if one.strategy == name and one.accuracy_after is not None
        ]
        for name in names
    }
    strategies_picture(path, points, *across)
