"""What ``pimc eval --explain`` asks for, and what it has to say: the cost of each element."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Settings
from pimc.cli.running.dies import DieOptions
from pimc.cli.text import facts, room, table
from pimc.errors import UsageError

if TYPE_CHECKING:
    from pimc.functions.evaluate import Evaluation
    from pimc.image.image import Image
    from pimc.studies.ablation_result import Explanation
    from pimc.studies.evaluate import Batches
    from pimc.studies.intervals import Difference
    from pimc.tasks.metric import Metric

__all__ = ["check_options", "element_costs"]


def check_options(dies: DieOptions, *, explain: bool, output: Path | None) -> None:
    """Make sure that the options of ``pimc eval`` leave something to explain.

    Raises:
        UsageError: elements are switched off in dies drawn from a seed, and in no other chip;
            a picture is asked for without an explanation, under a name that says neither PNG nor
            SVG, or where there is no folder.
    """
    if not explain:
        if output is not None:
            raise UsageError("-o names a picture of the explanation", hint="add --explain")
        return
    from pimc.files.writing.atomic import require_folder
    from pimc.pictures.canvas import require_picture
    from pimc.runtime.door.drivers import simulates
    from pimc.runtime.read.processor import driver_and_processor

    if output is not None:
        require_picture(output)
        require_folder(output)
    given = [
        option
        for option, is_given in (
            ("--die", dies.die is not None),
            ("--ideal", dies.ideal),
            (f"--device {dies.device}", not simulates(driver_and_processor(dies.device)[0])),
        )
        if is_given
    ]
    if given:
        raise UsageError(
            f"--explain switches elements of simulated dies off, which {given[0]} does not allow",
            hint="leave it out and draw dies with --dies and --seed",
        )


def element_costs(
    image: Image,
    batches: Batches,
    settings: Settings,
    dies: DieOptions,
    evaluation: Evaluation,
    *,
    output: Path | None,
) -> tuple[dict[str, Any], str]:
    """The JSON object ``explain`` and its text; a picture, too, where ``output`` names one.

    Args:
        evaluation: of the dies drawn from ``settings.seed`` on.
    """
    from pimc.functions.evaluate import explain

    found = explain(
        image,
        batches,
        dies=settings.seeds(len(evaluation.trials)),
        evaluation=evaluation,
        reading=dies.reading(),
        progress=settings.progress,
    )
    if output is not None:
        from pimc.pictures.explain import explain_picture

        explain_picture(output, found, image.chip.name)
    picture = None if output is None else str(output)
    parts = [_quantization(found), _elements(found), _layers(found)]
    if picture is not None:
        parts.append(facts([("picture", picture)]))
    return found.to_dict() | {"picture": picture}, "\n\n".join(parts)


def _quantization(found: Explanation) -> str:
    steps, metric = found.quantization, found.metric
    return f"{metric.name} with perfect cells, {found.samples:,} samples\n" + facts(
        [
            ("  float", metric.text(steps.in_float)),
            ("  weights rounded", metric.text(steps.weights)),
            ("  and inputs", metric.text(steps.dac)),
            ("  and column currents", metric.text(steps.adc)),
        ]
    )


def _elements(found: Explanation) -> str:
    from pimc.pictures.canvas import stands_on

    metric = found.metric
    rows = [
        (cost.element.name, _points(cost.switched_off, metric), _points(cost.alone, metric))
        for cost in found.costs
    ]
    off = sum(cost.switched_off.mean for cost in found.costs)
    alone = sum(cost.alone.mean for cost in found.costs)
    together = _points(found.together, metric)
    rows += [("sum", _number(off, metric), _number(alone, metric))]
    rows += [("all together", together, together)]
    counts = stands_on(len(found.accuracies), found.samples)
    points = f"points of {metric.name}" if metric.unit == "%" else metric.name
    head = f"{points} an element costs and their 95 % intervals, {counts}\n"
    return head + table(("element", "won without it", "lost with it alone"), rows)


def _points(lost: Difference, metric: Metric) -> str:
    low, high = lost.interval
    return f"{_number(lost.mean, metric)} ({metric.number(low)} to {metric.number(high)})"


def _number(value: float, metric: Metric) -> str:
    return metric.number(value).rjust(6)


def _layers(found: Explanation) -> str:
    from pimc.chip.element import PARTS
    from pimc.pictures.canvas import stands_on

    rows = [
        (
            layer.name,
            *(
                _decibels(layer.snr_db(error))
                for error in (layer.total, layer.own, layer.cells, layer.read_noise, layer.adc)
            ),
            f"{100 * layer.clipped:5.2f}",
        )
        for layer in found.layers
    ]
    header = ("layer", "network", "own", *PARTS, "clipped %")
    head = "signal to noise in dB: in the whole network, and the layer's own, "
    counts = stands_on(len(found.accuracies), found.snr_samples)
    return f"{head}{counts}\n" + table(header, rows, limit=room(24))


def _decibels(value: float | None) -> str:
    return "    –" if value is None else f"{value:5.1f}"
