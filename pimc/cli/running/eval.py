"""``pimc eval``: Accuracy, or another metric, over one or many dies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command, warned
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import flag, group, option
from pimc.cli.options.samples import SampleOptions
from pimc.cli.options.single import image_argument
from pimc.cli.options.task import keyed, task_of, task_option, told_of
from pimc.cli.options.values import FILE
from pimc.cli.options.workers import WorkerOptions
from pimc.cli.project.typed import typed_line
from pimc.cli.running.dies import DRAWN, DieOptions, one_of, session
from pimc.cli.running.limits import LimitOptions
from pimc.cli.text import clipping_layers, facts, states_text, told_of_states

if TYPE_CHECKING:
    from pimc.functions.evaluate import Evaluation
    from pimc.image.image import Image
    from pimc.studies.evaluate import Batches
    from pimc.tasks.task import Task

__all__ = ["COMMAND", "EvalArguments", "evaluate"]


@dataclass(frozen=True)
class EvalArguments:
    """What ``pimc eval`` takes."""

    image: Path | None = image_argument()
    data: Path = option("--data", type=FILE, required=True, metavar="DATA", help="Labelled data.")
    preprocess: DataOptions = group(DataOptions)
    task: str | None = task_option(
        "What the outputs mean, and the metric that is told [default: classification]."
    )
    count: int | None = option(
        "--dies", type=click.IntRange(1), help=f"Dies drawn from --seed on [default: {DRAWN}]."
    )
    dies: DieOptions = group(DieOptions)
    samples: SampleOptions = group(SampleOptions)
    workers: WorkerOptions = group(WorkerOptions)
    limits: LimitOptions = group(LimitOptions)
    explain: bool = flag("--explain", help="Say what costs how much, element by element.")
    output: Path | None = option(
        "-o", "--output", type=FILE, metavar="FILE.png|FILE.svg", help="A picture of --explain."
    )


def evaluate(settings: Settings, arguments: EvalArguments) -> Report:
    """Accuracy of IMAGE on labelled data: over several drawn dies, one programmed or ideal one.

    The float accuracy is that of the weights the image was compiled from. The confidence
    interval holds what dies and samples leave open; for a single die, samples alone. --task
    names another task than classification, which has another metric.
    """
    from pimc.cli.lookup import find_image
    from pimc.cli.running.element_costs import check_options, element_costs
    from pimc.data.inputs import free_inputs
    from pimc.image.image import Image
    from pimc.runtime.interface import inputs_of

    dies = arguments.dies
    check_options(dies, explain=arguments.explain, output=arguments.output)
    loaded = Image.load(find_image(arguments.image))
    one_of({"--dies": arguments.count, "--die": dies.die, "--ideal": dies.ideal})
    task = task_of(arguments.task)
    arguments.limits.wanted(task)
    inputs = inputs_of(loaded)
    free_inputs(inputs)
    data = arguments.preprocess.load(arguments.data, inputs, "test", loaded.states)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.runtime.teacher import has_teacher
    from pimc.studies.input_warnings import chance_warning, data_warnings

    batches = arguments.samples.of(data, task).against(loaded, settings.progress)
    if arguments.limits.max_drop is not None and not has_teacher(loaded):
        arguments.limits.allowed(task.metric, None)  # refuses it before anything is measured
    found = _evaluated(loaded, batches, settings, arguments)
    classes = task.metric.key == "accuracy"
    chance = chance_warning(loaded, batches.data, found.float_accuracy) if classes else None
    warnings = [*data_warnings(loaded, batches.data), *([chance] if chance else [])]
    youngest_s = loaded.chip.retention.youngest_s
    result = _result(found, arguments) | told_of_states(batches.data)
    result["age_s"] = _age_s(dies, youngest_s)
    result["warnings"] = warned(warnings)
    text = _text(result, youngest_s, task, arguments.limits)
    if arguments.explain:
        result["explain"], more = element_costs(
            loaded,
            batches,
            settings,
            dies,
            found,
            output=arguments.output,
        )
        text += f"\n\n{more}"
    return Report(keyed(task, result), text, exit_code=0 if result["ok"] else 1)


COMMAND = command(
    "eval",
    EvalArguments,
    evaluate,
    example="pimc eval model.pimc --data data --dies 5",
    needs=("torch",),
)


def _result(found: Evaluation, arguments: EvalArguments) -> dict[str, Any]:
    """What is told of the dies."""
    from pimc.studies.intervals import known_ends

    return {
        **told_of(found.task),
        "samples": found.samples,
        "command_line": typed_line(),
        "judged": found.judged,
        "float_accuracy": found.float_accuracy,
        "accuracy_mean": found.accuracy,
        "accuracy_std": found.accuracy_std,
        "accuracy_interval_95": list(known_ends(found.interval_95)),
        "accuracy_per_die": found.accuracy_per_die,
        "figures": _shown(found.figures),
        "dies": [trial.die for trial in found.trials],
        "saturation": found.saturation,
        "images_per_second": found.images_per_second,
        **arguments.limits.result(found.task, found.accuracy, found.float_accuracy),
    }


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Further figures as JSON has them: what is no number is ``null``."""
    return {
        name: _shown(value) if isinstance(value, Mapping) else _known(value)
        for name, value in figures.items()
    }


def _known(value: float) -> float | None:
    """The value, or None where it is no number."""
    return value if math.isfinite(value) else None


def _evaluated(
    image: Image, batches: Batches, settings: Settings, arguments: EvalArguments
) -> Evaluation:
    """One die or chip, or dies drawn from the seed on, measured."""
    from pimc.errors import UsageError
    from pimc.functions.evaluate import evaluate
    from pimc.runtime.door.abilities import keep_disturb
    from pimc.runtime.door.drivers import require_simulator, simulates
    from pimc.runtime.read.processor import driver_and_processor

    dies, workers = arguments.dies, arguments.workers
    driver, _ = driver_and_processor(dies.device)
    if dies.ideal or dies.die is not None or not simulates(driver):
        if workers.jobs > 1 or workers.cluster is not None:
            raise UsageError(
                "--jobs and --cluster are for dies drawn from the seed",
                hint="leave them out, or give --dies in place of a die, a device or --ideal",
            )
        if arguments.count is not None:
            require_simulator(driver, "--dies")
        on_die = session(image, settings.seed, dies)
        found = evaluate(on_die, batches, progress=settings.progress)
        keep_disturb(on_die.device, dies.die)
        return found
    seeds, reading = settings.seeds(arguments.count or DRAWN), dies.reading()
    with workers.open() as pool:
        return evaluate(
            image, batches, dies=seeds, reading=reading, pool=pool, progress=settings.progress
        )


def _age_s(dies: DieOptions, youngest_s: float) -> float:
    """How long ago drawn dies were written; 0 for any other chip, which has a time of its own."""
    from pimc.runtime.door.drivers import simulates
    from pimc.runtime.read.processor import driver_and_processor

    drawn = dies.die is None and not dies.ideal
    if not drawn or not simulates(driver_and_processor(dies.device)[0]):
        return 0.0
    return max(dies.age or 0.0, youngest_s)


def _text(result: Mapping[str, Any], youngest_s: float, task: Task, limits: LimitOptions) -> str:
    age_s, metric = result["age_s"], task.metric
    least = ", the least age that the chip has figures for" * (age_s == youngest_s)
    values, names = result["accuracy_per_die"], result["dies"]
    low, high = result["accuracy_interval_95"]
    spread = f" ± {metric.text(result['accuracy_std'])} over {len(values)} dies" * (len(values) > 1)
    drawn_from = "dies and samples" if len(values) > 1 else "samples"
    each = "  ".join(f"{n} {metric.text(v)}" for n, v in zip(names, values, strict=True))
    judged, samples = result["judged"], result["samples"]
    units = f", {judged:,} steps judged" * (judged > samples)
    units += f" in {judged:,} groups" * (judged < samples)
    better = "" if metric.key == "accuracy" else f", {metric.direction} is better"
    pairs = [
        ("samples", f"{samples:,}{units}"),
        ("states", states_text(result)),
        ("float", metric.text(result["float_accuracy"])),
        (metric.name, metric.text(result["accuracy_mean"]) + spread + better),
        ("95 % interval", f"{metric.texts(low, high)}, over {drawn_from}"),
        ("further", _told(task, result["figures"])),
        ("dies", each),
        ("age", f"{age_s:,.10g} s{least}" if age_s else ""),
        ("saturation", clipping_layers(result["saturation"])),
        ("speed", f"{result['images_per_second']:,.0f} images a second"),
        *limits.texts(metric, result),
    ]
    return facts(pairs)


def _told(task: Task, figures: Mapping[str, Any]) -> str:
    """Single figures of a task for people; classification tells accuracy alone."""
    if task.metric.key == "accuracy":
        return ""
    single = {name: value for name, value in figures.items() if isinstance(value, float)}
    return "  ".join(f"{name} {value:.4g}" for name, value in single.items())
