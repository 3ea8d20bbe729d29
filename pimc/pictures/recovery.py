"""Pictures of recoveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pimc.pictures.canvas import REFERENCE, caption, new_figure, save_figure, stands_on
from pimc.studies.intervals import interval
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

__all__ = ["layers_picture", "strategies_picture"]


def strategies_picture(
    path: str | Path,
    points: Mapping[str, Sequence[tuple[float, float]]],
    in_float: float,
    samples: int,
    floor: float | None = None,
    *,
    metric: Metric = CLASSIFICATION.metric,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Accuracy against cells rewritten: every die a faint point, every strategy's mean a large one.

    Args:
        points: by strategy (part of the cells rewritten, accuracy) of its dies; shares 0…1.
        samples: that each die was measured on.
        in_float: accuracy of the float network, drawn across.
        floor: accuracy of perfect cells under the chip's read noise and converters, likewise.
        metric: what is drawn in place of accuracy.
        intervals: of each strategy's mean, where it is not of accuracy.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes, scale = figure.add_subplot(), metric.scale
    for number, (name, dies) in enumerate(points.items()):
        rewritten, reached = (np.asarray(values) for values in zip(*dies, strict=True))
        rewritten, reached = 100 * rewritten, scale * reached
        colour = f"C{number}"
        axes.scatter(rewritten, reached, s=10, color=colour, alpha=0.4)
        values = [value for _, value in dies]
        low, high = intervals[name] if intervals else interval(values, samples)
        mean = reached.mean()
        around = [[max(mean - scale * low, 0)], [max(scale * high - mean, 0)]]
        axes.errorbar(rewritten.mean(), mean, around, fmt="o", color=colour, capsize=3, label=name)
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
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    counts = stands_on([len(dies) for dies in points.values()], samples)
    caption(figure, f"a strategy: {counts}; bars: 95 % interval over dies and samples")
    save_figure(figure, path)


def layers_picture(
    path: str | Path,
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
    figure = new_figure(7.2, 3.6)
    axes = figure.add_subplot()
    place = np.arange(len(before))
    axes.plot(place, list(before.values()), "o:", color=REFERENCE, markersize=3, label="programmed")
    for number, (name, errors) in enumerate(after.items()):
        values = [errors[layer] for layer in before]
        axes.plot(place, values, "o-", color=f"C{number}", markersize=3, linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xticks(place, list(before), rotation=90, fontsize=6)
    axes.set_ylabel("error of a layer's outputs")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    caption(figure, text)
    save_figure(figure, path)


def _short(value: float, metric: Metric) -> str:
    return f"{value:.1%}" if metric.unit == "%" else metric.text(value)
