"""``pimc recover --compare``: strategies side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings
from pimc.cli.options.task import keyed, told_of
from pimc.cli.project.typed import typed_line
from pimc.cli.recovering.arguments import RecoverArguments
from pimc.cli.text import facts, percent, table

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.passes.recover.options import RecoverOptions
    from pimc.studies.compare import Outcome
    from pimc.studies.evaluate import Batches
    from pimc.tasks.metric import Metric
    from pimc.tasks.task import Array, Task

__all__ = ["compared"]


def _header(metric: Metric) -> tuple[str, ...]:
    won = "points won" if metric.unit == "%" else f"{metric.name} won"
    return (
        "strategy", "before", "after", won, "agrees with float", "cells rewritten",
        "digital weights", "array reads", "time",
    )  # fmt: skip


#: What stands in brackets.
_BRACKETS = "95 % intervals over dies and samples, of points won those of paired differences"


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
    from pimc.files.writing.atomic import replacing
    from pimc.functions.explore import compare
    from pimc.passes.recover.bench.floor import with_perfect_cells
    from pimc.passes.recover.strategies import strategies, strategy_named
    from pimc.pictures.canvas import stands_on
    from pimc.pictures.recovery import layers_picture
    from pimc.runtime.die.die import Die
    from pimc.runtime.door.drivers import simulates
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import accuracy, float_session
    from pimc.tasks.classification import CLASSIFICATION

    if arguments.named or not simulates(arguments.device):
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
            strategies=names,
            dies=seeds,
            options=options,
            device=arguments.device,
            pool=pool,
            memory=arguments.memory,
            progress=settings.progress,
        )
    output = arguments.output or path.with_suffix(".compare.json")
    picture = arguments.picture or output.with_suffix(".png")
    total = int(image.used.sum())
    by_name = {name: [one for one in outcomes if one.strategy == name] for name in names}
    samples = 0 if labelled is None else len(labelled.data)
    task = CLASSIFICATION if labelled is None else labelled.task
    metric, chip = task.metric, image.chip.name
    rows = [_row(found, total, task) for found in by_name.values()]
    data = {
        "output": str(output),
        "command_line": typed_line(),
        **told_of(task),
        f"float_{metric.key}": in_float,
        f"quantized_{metric.key}": ideal,
        f"floor_{metric.key}": floor,
        "samples": samples or None,
        "calibration_samples": len(calib),
        "cells_total": total,
        "dies": seeds,
        "strategies": [_over_both(found, task) for found in by_name.values()],
        "outcomes": [keyed(task, outcome.to_dict()) for outcome in outcomes],
        "seconds": round(time.perf_counter() - start, 3),
    }
    with replacing(output) as stream:
        stream.write((json.dumps(data, indent=1) + "\n").encode())
    counts = f"{stands_on(len(seeds), samples or None)}, {len(calib):,} calibration samples"
    in_brackets = f"; in brackets {_BRACKETS}" if samples else ""
    with replacing(output.with_suffix(".md")) as stream:
        stream.write(f"{counts}{in_brackets}\n\n{_markdown(rows, metric)}".encode())
    if in_float is not None:
        _picture(picture, by_name, total, samples, (in_float, floor), task, chip)
    layers_picture(
        picture.with_suffix(f".layers{picture.suffix}"),
        *_layer_errors(names, outcomes),
        f"means over {stands_on(len(seeds))}; {len(calib):,} calibration samples, chip {chip}",
    )
    head = facts(
        [
            ("metric", "" if metric.key == "accuracy" else metric.name),
            ("float", metric.text(in_float)),
            ("quantized", metric.text(ideal)),
            ("floor", metric.text(floor)),
            ("dies", counts),
            ("brackets", _BRACKETS if samples else ""),
        ]
    )
    return Report(data, f"{head}\n\n{table(_header(metric), rows)}", answer=False)


def _row(outcomes: Sequence[Outcome], total: int, task: Task) -> tuple[str, ...]:
    """A strategy's line: means over the dies; what is of accuracy with its 95 % interval."""
    from pimc.studies.compare import gained

    won, metric = gained(outcomes, task), task.metric
    points = metric.text(None)
    if won is not None:
        low, high = map(metric.number, won.interval)
        points = f"{metric.number(won.mean)} ({low} to {high})"
    return (
        outcomes[0].strategy,
        _reached([one.units_before for one in outcomes], task),
        _reached([one.units_after for one in outcomes], task),
        points,
        _over_dies([one.agreement for one in outcomes]),
        percent(mean(one.cells_rewritten for one in outcomes) / total, 1),
        f"{mean(one.residual_weights for one in outcomes):,.0f}",
        _counted([one.reads for one in outcomes]),
        f"{mean(one.seconds for one in outcomes):.0f} s",
    )


def _over_both(outcomes: Sequence[Outcome], task: Task) -> dict[str, Any]:
    """What a strategy's outcomes say of any dies and samples."""
    from pimc.studies.compare import gained

    won, key = gained(outcomes, task), task.metric.key
    return {
        "strategy": outcomes[0].strategy,
        f"{key}_before": _interval_of([one.units_before for one in outcomes], task),
        f"{key}_after": _interval_of([one.units_after for one in outcomes], task),
        "gained": won and won.to_dict(),
    }


def _interval_of(dies: Sequence[Array | None], task: Task) -> dict[str, Any] | None:
    """``mean`` and ``interval_95`` over dies and samples; None without labelled data."""
    from pimc.studies.intervals import interval_of, known_ends

    known = [units for units in dies if units is not None]
    if not known:
        return None
    reached = mean(task.value(units) for units in known)
    return {"mean": reached, "interval_95": list(known_ends(interval_of(task, known)))}


def _reached(dies: Sequence[Array | None], task: Task) -> str:
    """Mean and 95 % interval over dies and samples."""
    found, metric = _interval_of(dies, task), task.metric
    if found is None:
        return metric.text(None)
    return f"{metric.number(found['mean'])} ({metric.texts(*found['interval_95'])})"


def _counted(reads: Sequence[int | None]) -> str:
    """Mean number of reads; a dash where no device counts them."""
    known = [count for count in reads if count is not None]
    return f"{mean(known):,.0f}" if known else percent(None)


def _over_dies(values: Sequence[float | None]) -> str:
    from pimc.studies.intervals import deviation

    known = [value for value in values if value is not None]
    if not known:
        return percent(None)
    if len(known) == 1:
        return percent(known[0])
    return f"{100 * mean(known):.2f} ± {100 * deviation(known):.2f} %"


def _markdown(rows: Sequence[Sequence[str]], metric: Metric) -> str:
    header = _header(metric)
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
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
    outcomes: Mapping[str, Sequence[Outcome]],
    total: int,
    samples: int,
    across: tuple[float, float | None],
    task: Task,
    chip: str,
) -> None:
    from pimc.pictures.recovery import strategies_picture

    points = {
        name: [
            (one.cells_rewritten / total, one.accuracy_after)
            for one in found
            if one.accuracy_after is not None
        ]
        for name, found in outcomes.items()
    }
    in_float, floor = across
    intervals = None
    if task.metric.key != "accuracy":
        told = {n: _interval_of([one.units_after for one in f], task) for n, f in outcomes.items()}
        # Where there is no end nothing is drawn.
        intervals = {
            name: tuple(one["mean"] if end is None else end for end in one["interval_95"])
            for name, one in told.items()
            if one
        }
    strategies_picture(
        path, points, in_float, samples, floor, metric=task.metric, intervals=intervals, chip=chip
    )
