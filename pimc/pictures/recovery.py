"""Pictures of recoveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pimc.pictures.canvas import (
    REFERENCE,
    Place,
    caption,
    marks,
    new_figure,
    on_chip,
    save_figure,
    stands_on,
    styled,
    tell_break,
)
from pimc.studies.intervals import interval
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

__all__ = ["layers_picture", "strategies_picture"]

#: Layers whose names have room side by side.
_NAMED = 60


@styled
def strategies_picture(
    path: Place,
    points: Mapping[str, Sequence[tuple[float, float]]],
    in_float: float,
    samples: int,
    floor: float | None = None,
    *,
    metric: Metric = CLASSIFICATION.metric,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    chip: str = "",
) -> None:
    """Accuracy against cells rewritten: every die a faint point, every strategy's mean a large one.

    Args:
        points: by strategy (part of the cells rewritten, accuracy) of its dies; shares 0…1.
        samples: that each die was measured on.
        in_float: accuracy of the float network, drawn across.
        floor: accuracy of perfect cells under the chip's read noise and converters, likewise.
        metric: what is drawn in place of accuracy.
        intervals: of each strategy's mean, where it is not of accuracy.
        chip: name of the chip.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes, scale = figure.add_subplot(), metric.scale
    for number, (mark, (name, dies)) in enumerate(
        zip(marks(len(points)), points.items(), strict=True)
    ):
        rewritten, reached = (np.asarray(values) for values in zip(*dies, strict=True))
        rewritten, reached = 100 * rewritten, scale * reached
        colour = f"C{number}"
        axes.scatter(rewritten, reached, s=10, color=colour, alpha=0.4, marker=mark)
        values = [value for _, value in dies]
        low, high = intervals[name] if intervals else interval(values, samples)
        mean = reached.mean()
        around = [[max(mean - scale * low, 0)], [max(scale * high - mean, 0)]]
        axes.errorbar(rewritten.mean(), mean, around, fmt=mark, color=colour, capsize=3, label=name)
    label = f"float {_short(in_float, metric)}"
    axes.axhline(scale * in_float, color=REFERENCE, linewidth=1, linestyle=":", label=label)
    if floor is not None:
        label = f"perfect cells {_short(floor, metric)}"
        axes.axhline(scale * floor, color=REFERENCE, linewidth=1, linestyle="--", label=label)
    # Few cells are what it is about: the scale is fine there, and zero has a place on it.
    axes.set_xscale("symlog", linthresh=1)
    most = max(100 * share for dies in points.values() for share, _ in dies)
    axes.set_xlim(-0.2, max(1.0, 1.4 * most))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("cells rewritten in %")
    axes.set_ylabel(f"{metric.name} in {metric.unit}" if metric.unit else metric.name)
    figure.legend(loc="outside right upper")
    counts = stands_on([len(dies) for dies in points.values()], samples)
    broken = tell_break(axes, least=scale * metric.low)
    bars = f"error bars: 95 % interval over dies and samples{broken}"
    caption(figure, f"a strategy: {counts}{on_chip(chip)}; {bars}")
    save_figure(figure, path)


@styled
def layers_picture(
    path: Place,
    before: Mapping[str, float],
    after: Mapping[str, Mapping[str, float]],
    text: str,
) -> None:
    """Error of every layer's outputs, as programmed and after each strategy.

    Args:
        before: by layer name; root mean square over the standard deviation of the float
            network's.
        after: the same, by strategy.
        text: what they stand on.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    place = np.arange(len(before))
    axes.plot(place, list(before.values()), "o:", color=REFERENCE, markersize=3, label="programmed")
    for mark, (name, errors) in zip(marks(len(after) + 1)[1:], after.items(), strict=True):
        values = [errors[layer] for layer in before]
        axes.plot(place, values, f"{mark}-", markersize=3, linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    # Of very many layers every so many is named.
    every = slice(None, None, 1 + len(before) // _NAMED)
    axes.set_xticks(place[every], list(before)[every], rotation=90, fontsize=7)
    axes.set_ylabel("error of a layer's outputs")
    figure.legend(loc="outside right upper")
    caption(figure, text)
    save_figure(figure, path)


def _short(value: float, metric: Metric) -> str:
    return f"{100 * value:.1f} %" if metric.unit == "%" else metric.text(value)
