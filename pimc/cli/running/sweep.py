"""``pimc sweep``: Accuracy, or another metric, over a grid of chips."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import argument, group, option, several
from pimc.cli.options.model import ModelOptions
from pimc.cli.options.samples import SampleOptions
from pimc.cli.options.single import ir_drop_option, picture_option
from pimc.cli.options.task import keyed, task_of, task_option, told_of
from pimc.cli.options.values import CHIP, DURATION, FILE
from pimc.cli.options.workers import WorkerOptions
from pimc.cli.running.dies import DRAWN
from pimc.cli.text import engineering, facts, room, table

if TYPE_CHECKING:
    from pimc.chip.design import Chip
    from pimc.chip.grid import Axis
    from pimc.data.dataset import Dataset
    from pimc.plan.records import Plan
    from pimc.runtime.physics.ir_drop import Method
    from pimc.studies.evaluate import Batches
    from pimc.tasks.metric import Metric

__all__ = ["COMMAND", "SweepArguments", "sweep"]


@dataclass(frozen=True)
class SweepArguments:
    """What ``pimc sweep`` takes."""

    model: Path = argument(type=FILE)
    reading: ModelOptions = group(ModelOptions)
    over: tuple[str, ...] = several(
        "--over",
        type=click.STRING,
        required=True,
        metavar="NAME=V,V,…",
        help="levels, sigma, array, mapping or a key of the chip file, and its values; once for"
        " each.",
    )
    chip: str | None = option(
        "--chip",
        type=CHIP,
        metavar="NAME|FILE",
        help="The chip whose parameters are varied.",
    )
    calib: Path | None = option(
        "--calib", type=FILE, metavar="DATA", help="Inputs to choose the ranges on."
    )
    data: Path = option("--data", type=FILE, required=True, metavar="DATA", help="Labelled data.")
    preprocess: DataOptions = group(DataOptions)
    task: str | None = task_option(
        "What the outputs mean, and the metric that is told [default: classification]."
    )
    dies: int = option(
        "--dies", type=click.IntRange(1), default=DRAWN, help="Dies drawn from --seed on."
    )
    age: float | None = option(
        "--age", type=DURATION, help="Time between writing and reading the dies: 1d."
    )
    ir_drop: Method | None = ir_drop_option()
    samples: SampleOptions = group(SampleOptions)
    workers: WorkerOptions = group(WorkerOptions)
    output: Path | None = option(
        "-o", "--output", type=FILE, help="A .csv or .parquet [default: MODEL.sweep.csv]."
    )
    picture: Path | None = picture_option(
        "Pictures, one a parameter: FILE.levels.svg and so on [default: OUTPUT.png]."
    )


def sweep(settings: Settings, arguments: SweepArguments) -> Report:
    """Compile MODEL.onnx for every chip of a grid and measure it on several dies.

    One row a point. Points that the output already holds are not measured again; after an
    interruption the same command goes on.
    """
    from pimc.chip.design import Chip
    from pimc.chip.grid import parse_axis, points
    from pimc.files.writing.atomic import require_folder
    from pimc.pictures.canvas import require_picture
    from pimc.studies.sweep_table import require_suffix

    start = time.perf_counter()
    output = arguments.output or Path(f"{arguments.model.stem}.sweep.csv")
    require_suffix(output)
    picture = arguments.picture or output.with_suffix(".png")
    require_picture(picture)
    require_folder(picture)
    axes = [parse_axis(text) for text in arguments.over]
    base = Chip.load(arguments.chip) if arguments.chip else Chip.default()
    points(base, axes)  # refuses a grid without any chip before the data are read
    model, calib, batches = _given(base, arguments)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.functions.explore import sweep as run
    from pimc.pictures.sweep import in_float, sweep_pictures
    from pimc.studies.drawn import Reading

    done = run(
        model,
        axes,
        batches,
        chip=base,
        calib=calib,
        dies=settings.seeds(arguments.dies),
        reading=Reading(arguments.age or 0.0, arguments.ir_drop or "first"),
        output=output,
        pool=arguments.workers.open,
        progress=settings.progress,
    )
    task, pictures = batches.task, []
    for name, draw in sweep_pictures(axes, done.rows, task.metric, base.name):
        path = picture.with_suffix(f".{name}{picture.suffix}")
        draw(path)
        pictures.append(str(path))
    data = {
        **told_of(task),
        "output": str(output),
        "pictures": pictures,
        "dies": arguments.dies,
        "samples": len(batches.data),
        "points": len(done.rows),
        "measured": done.measured,
        "failed": sum(bool(row["error"]) for row in done.rows),
        "float_accuracy": in_float(done.rows, task.metric),
        "seconds": round(time.perf_counter() - start, 3),
        "rows": done.rows,
    }
    return Report(keyed(task, data), _text(data, axes, task.metric), answer=False)


COMMAND = command(
    "sweep",
    SweepArguments,
    sweep,
    example="pimc sweep model.onnx --calib data --data data --over levels=8,16 --dies 2",
    needs=("torch",),
)


def _given(base: Chip, arguments: SweepArguments) -> tuple[Plan, Dataset | None, Batches]:
    """Model and data, loaded; refuses what no point could be compiled from."""
    from pimc import api
    from pimc.data.inputs import free_inputs
    from pimc.passes.graph.frontend import load_model

    loaded = load_model(arguments.model, follow_links=arguments.reading.follow_links)
    parted = api.plan(loaded, base, stop_after="partition")
    preprocess, calib = arguments.preprocess, None
    if arguments.calib is not None:
        calib = preprocess.load(arguments.calib, loaded.graph.graph.inputs)
        calib = api.without_states(loaded, calib)
    inputs = parted.graph.graph.inputs
    free_inputs(inputs)
    task = task_of(arguments.task)
    batches = arguments.samples.of(preprocess.load(arguments.data, inputs, "test"), task)
    return loaded, calib, batches


def _text(data: Mapping[str, Any], axes: Sequence[Axis], metric: Metric) -> str:
    from pimc.chip.grid import as_text
    from pimc.pictures.canvas import stands_on

    names = [axis.name for axis in axes]
    header = [
        *names, metric.name, "± dies", "95 % interval", "arrays", "read steps", "energy", "latency",
    ]  # fmt: skip
    shown = [
        [
            *(as_text(row[name]) for name in names),
            metric.text(row[f"{metric.key}_mean"]),
            metric.text(row[f"{metric.key}_std"]),
            metric.texts(row[f"{metric.key}_low"], row[f"{metric.key}_high"]),
            row["arrays"],
            row["read_steps"],
            engineering(_scaled(row["energy_pj"], 1e-12), "J"),
            engineering(_scaled(row["latency_ns"], 1e-9), "s"),
        ]
        for row in data["rows"]
    ]
    errors = Counter(row["error"] for row in data["rows"] if row["error"])
    pairs = [
        ("points", f"{data['points']} ({data['measured']} measured now)"),
        *(("not compiled", f"{count}: {error}") for error, count in errors.items()),
        ("a point", f"{stands_on(data['dies'], data['samples'])}, interval over both"),
        ("float", metric.text(data["float_accuracy"])),
        ("took", f"{data['seconds']:.1f} s"),
        ("written", ", ".join([data["output"], *data["pictures"]])),
    ]
    return f"{table(header, shown, limit=room(len(pairs) + 3))}\n\n{facts(pairs)}"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
