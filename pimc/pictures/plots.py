"""Pictures of accuracies: of dies, and against a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.pictures.canvas import (
    AFTER,
    BEFORE,
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
from pimc.studies.intervals import interval, mean_interval, wilson_interval
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

__all__ = ["accuracy_picture", "around", "lines_picture"]


@styled
def accuracy_picture(
    path: Place,
    dies: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    in_float: float,
    quantized: float,
    samples: int,
    chip: str = "",
) -> None:
    """Accuracy of several dies before and after recovery, as bars from zero (shares 0…1).

    Args:
        dies: their names.
        samples: that each of them was measured on.
        chip: name of the chip.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    position = np.arange(len(dies))
    for shift, values, colour, ink, label in (
        (-0.2, before, BEFORE, "black", "as programmed"),
        (0.2, after, AFTER, "white", "after recovery"),
    ):
        bars = axes.bar(position + shift, np.multiply(values, 100), 0.36, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", label_type="center", color=ink)
        ends = [wilson_interval(value, samples) for value in values]
        axes.errorbar(
            position + shift, np.multiply(values, 100), around(values, ends, 100.0),
            fmt="none", ecolor="black", elinewidth=0.8, capsize=3,
        )  # fmt: skip
    axes.axhline(
        100 * in_float, color=REFERENCE, linewidth=1, label=f"float {100 * in_float:.1f} %"
    )
    axes.axhline(
        100 * quantized,
        color=REFERENCE,
        linewidth=1,
        linestyle=":",
        label=f"perfect cells {100 * quantized:.1f} %",
    )
    axes.set_ylim(0, 102)
    axes.set_xticks(position, dies)
    axes.set_ylabel("accuracy in %")
    figure.legend(loc="outside upper center", ncols=4)
    counts = f"{stands_on(len(dies), samples)}{on_chip(chip)}"
    caption(figure, f"{counts}; error bars: Wilson's 95 % interval over samples")
    save_figure(figure, path)


@styled
def lines_picture(
    path: Place,
    name: str,
    lines: Mapping[str, Mapping[Any, Sequence[float]]],
    samples: int,
    title: str = "",
    in_float: float | None = None,
    among: str = "",
    metric: Metric = CLASSIFICATION.metric,
    chip: str = "",
) -> None:
    """Accuracy against a parameter: mean and 95 % interval, one line a label.

    Of another metric the interval is that over dies alone: samples cannot be told from it.

    Args:
        name: of the parameter.
        lines: by label and value of the parameter the accuracies (shares 0…1) of the dies. Where
            all values are numbers they are placed by their size, else side by side.
        samples: that each die was measured on.
        title: what the labels are.
        in_float: accuracy of the float network, drawn across.
        among: what else a point stands on.
        metric: what is drawn in place of accuracy.
        chip: name of the chip whose parameters they are.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.0, 3.2)
    axes = figure.add_subplot()
    values = list(dict.fromkeys(value for line in lines.values() for value in line))
    numbers = all(isinstance(value, int | float) for value in values)
    place = {value: value if numbers else number for number, value in enumerate(values)}
    reach = max(place.values()) - min(place.values())
    scale, shares = metric.scale, metric.key == "accuracy"
    if in_float is not None:
        label = f"float {100 * in_float:.1f} %" if shares else f"float {metric.text(in_float)}"
        axes.axhline(scale * in_float, color=REFERENCE, linewidth=1, linestyle=":", label=label)
    for number, (mark, (label, line)) in enumerate(
        zip(marks(len(lines)), lines.items(), strict=True)
    ):
        at = sorted(line, key=place.__getitem__)
        # Side by side, so that no bar hides another.
        shift = (0.01 * reach if numbers else 0.06) * (number - (len(lines) - 1) / 2)
        means = [float(np.mean(line[value])) for value in at]
        axes.errorbar(
            [place[value] + shift for value in at],
            [scale * mean for mean in means],
            around(
                means,
                [interval(line[v], samples) if shares else _over_dies(line[v]) for v in at],
                scale,
            ),
            marker=mark,
            markersize=4,
            linewidth=1.2,
            linestyle="-" if numbers else "",
            elinewidth=0.8,
            capsize=3,
            label=label or "mean",
        )
    axes.set_xticks(list(place.values()), [str(value) for value in values])
    axes.set_xlabel(name)
    axes.set_ylabel(f"{metric.name} in {metric.unit}" if metric.unit else metric.name)
    figure.legend(loc="outside right upper", title=title or None)
    counts = stands_on([len(found) for line in lines.values() for found in line.values()], samples)
    over, broken = (
        "dies and samples" if shares else "dies",
        tell_break(axes, least=scale * metric.low),
    )
    counts += f"{among}{on_chip(chip)}"
    caption(figure, f"a point: {counts}; error bars: 95 % interval over {over}{broken}")
    save_figure(figure, path)


def around(
    means: Sequence[float], intervals: Sequence[tuple[float, float]], scale: float
) -> npt.NDArray[np.float64]:
    """(2, points) distances of the ends of intervals from the means, as they are shown.

    Where there is no end it is 0.
    """
    ends = np.asarray(intervals, np.float64).T
    distances: npt.NDArray[np.float64] = scale * np.abs(ends - np.asarray(means))
    return np.where(np.isfinite(distances), distances, 0.0)


def _over_dies(values: Sequence[float]) -> tuple[float, float]:
    """The interval over dies; of a single one its value."""
    return mean_interval(values) if len(values) > 1 else (values[0], values[0])
