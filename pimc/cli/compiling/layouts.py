"""``pimc layouts``: Arrays against read steps, copies of layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.compiling.fronts import front_result, front_text
from pimc.cli.compiling.within import TryOptions
from pimc.cli.options.chip import ChipOptions
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import argument, group, option
from pimc.cli.options.model import ModelOptions
from pimc.cli.options.partition import PartitionOptions
from pimc.cli.options.task import task_of, task_option
from pimc.cli.options.values import FILE
from pimc.cli.text import engineering, room, table

if TYPE_CHECKING:
    from pimc.passes.layout.copies import Copies, PipelineLayer

__all__ = ["COMMAND", "LayoutsArguments", "layouts"]


@dataclass(frozen=True)
class LayoutsArguments:
    """What ``pimc layouts`` takes."""

    model: Path = argument(type=FILE)
    reading: ModelOptions = group(ModelOptions)
    chip: ChipOptions = group(ChipOptions)
    partition: PartitionOptions = group(PartitionOptions)
    calib: Path | None = option(
        "--calib",
        type=FILE,
        metavar="DATA",
        help="Inputs to weigh mappings on: what more cells would win.",
    )
    preprocess: DataOptions = group(DataOptions)
    task: str | None = task_option("What outputs mean, for --calib [default: classification].")
    trying: TryOptions = group(TryOptions)
    budget: int | None = option(
        "--budget",
        type=click.IntRange(1),
        metavar="N",
        help="Spend N arrays on copies of layers.",
    )


def layouts(settings: Settings, arguments: LayoutsArguments) -> Report:
    """How many arrays MODEL.onnx takes, and how many read steps: the layouts worth having.

    With --budget also which layers to copy for the most samples a second, every layer a stage of
    a pipeline with arrays of its own. With --calib also which layers to give more cells first.
    """
    from pimc import api
    from pimc.passes.graph.frontend import load_model
    from pimc.passes.layout.copies import pipeline_layers, share_out
    from pimc.passes.layout.packings import pareto_front
    from pimc.passes.layout.tile import Tiling

    chip, partition = arguments.chip.load(), arguments.partition
    options = api.Options(
        digital=partition.digital,
        array_only=partition.array_only,
        mapping=arguments.chip.of_layers,
    )
    _check(arguments)
    first = load_model(arguments.model, follow_links=arguments.reading.follow_links)
    plan = api.plan(first, chip, options=options, stop_after="partition")
    plan = Tiling()(plan, chip)
    found = pareto_front(plan, chip)
    data: dict[str, Any] = {
        "model": plan.model_name,
        "chip": chip.name,
        "arrays_available": chip.hierarchy.arrays,
        "layouts": [asdict(layout) for layout in found],
    }
    rows = [
        (a.packing, a.arrays, a.steps, _time(a.latency_ns))
        for a in found
    ]  # fmt: skip
    parts = [table(("--packing", "arrays", "steps in turn", "a sample"), rows)]
    if arguments.budget is not None:
        every = pipeline_layers(plan, chip)
        chosen = share_out(every, arguments.budget)
        data["pipeline"] = _pipeline(every, chosen)
        parts.append(_pipeline_text(every, chosen, taken=len(rows) + 6))
    if arguments.calib is not None:
        calib = arguments.preprocess.load(arguments.calib, first.graph.graph.inputs)
        # Only now what takes long to load: what can be refused without it has been.
        from pimc.studies.spending.weigh import weighed

        calib = api.without_states(first, calib, settings.progress)
        found_front = weighed(
            first, chip, calib, options, arguments.trying.trials, task=task_of(arguments.task),
            progress=settings.progress,
        )  # fmt: skip
        data["front"] = front_result(found_front)
        parts.append(front_text(found_front, room(len(rows) + 6)))
    return Report(data, "\n\n".join(parts))


COMMAND = command(
    "layouts",
    LayoutsArguments,
    layouts,
    example="pimc layouts model.onnx --array 128x128 --budget 64",
)


def _check(arguments: LayoutsArguments) -> None:
    """Make sure that what needs ``--calib`` is not given without.

    Raises:
        UsageError: it is.
    """
    from pimc.errors import UsageError
    from pimc.extras import require

    given = [
        *(f"--{name}" for name in arguments.preprocess.given),
        *(["--task"] if arguments.task else []),
        *arguments.trying.given,
    ]
    if arguments.calib is None and given:
        raise UsageError(f"{', '.join(given)} given without --calib")
    if arguments.calib is not None:
        require("torch", what="--calib")


def _pipeline(every: list[PipelineLayer], chosen: Copies) -> dict[str, Any]:
    return {
        "arrays": chosen.arrays,
        "interval_ns": chosen.interval_ns,
        "stages": [
            asdict(stage) | {"copies": number}
            for stage, number in zip(every, chosen.copies, strict=True)
        ],
    }


def _pipeline_text(every: list[PipelineLayer], chosen: Copies, taken: int) -> str:
    rows = [
        (stage.layer, stage.arrays, number, _time(stage.busy_ns), stage.buffer_values)
        for stage, number in zip(every, chosen.copies, strict=True)
    ]
    header = ("layer", "arrays", "copies", "a sample and copy", "buffered values")
    pace = "how often layers in bodies of control flow run is not known"
    if chosen.interval_ns is not None:
        rate = 1e9 / chosen.interval_ns if chosen.interval_ns else 0.0
        pace = f"a sample every {_time(chosen.interval_ns)}, {rate:,.0f} a second"
        pace += " (arrays and converters)"
    listed = table(header, rows, limit=room(taken))
    return f"{listed}\n\nas a pipeline on {chosen.arrays:,} arrays: {pace}"


def _time(ns: float | None) -> str:
    return engineering(None if ns is None else ns * 1e-9, "s")
