"""Pictures of results. Drawn with matplotlib's file backend; the same input, the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.measured import Measurement
from pimc.image.image import Image
from pimc.pictures.canvas import REFERENCE, caption, new_figure, save_figure, stands_on
from pimc.studies.ablation_result import Explanation
from pimc.studies.intervals import interval, mean_interval
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = [
    "accuracy_picture",
    "explain_picture",
    "level_map_picture",
    "lines_picture",
    "measured_picture",
]

_BEFORE, _AFTER, _REWRITTEN = "#b9c2cc", "#1f6f8b", "#e4572e"
_FAINT = "#f3d5cb"


def accuracy_picture(
    path: str | Path,
    dies: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    in_float: float,
    quantized: float,
    samples: int,
) -> None:
    """Accuracy of several dies before and after recovery, as bars (shares 0…1).

    Args:
        dies: their names.
        samples: that each of them was measured on.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    position = np.arange(len(dies))
    for shift, values, colour, ink, label in (
        (-0.2, before, _BEFORE, "black", "as programmed"),
        (0.2, after, _AFTER, "white", "after recovery"),
    ):
        bars = axes.bar(position + shift, np.multiply(values, 100), 0.36, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=-14, fontsize=9, color=ink)
    axes.axhline(100 * in_float, color=REFERENCE, linewidth=1, label=f"float {in_float:.1%}")
    axes.axhline(
        100 * quantized,
        color=REFERENCE,
        linewidth=1,
        linestyle=":",
        label=f"perfect cells {quantized:.1%}",
    )
    lowest = 100 * min(*before, *after, in_float, quantized)
    axes.set_ylim(max(0.0, 10 * np.floor((lowest - 5) / 10)), 102)
    axes.set_xticks(position, dies)
    axes.set_ylabel("accuracy in %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    caption(figure, stands_on(len(dies), samples))
    save_figure(figure, path)


def explain_picture(path: str | Path, found: Explanation) -> None:
    """What each element costs, with 95 % intervals over dies and samples; the layers' noise.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _costs(left, found)
    _layers(right, found)
    counts = stands_on(len(found.accuracies), found.samples)
    caption(
        figure,
        f"{counts}, {found.snr_samples:,} for signal to noise; bars: 95 % interval of the paired "
        "differences",
    )
    save_figure(figure, path)


def level_map_picture(
    path: str | Path, image: Image, array: int, rewritten: npt.NDArray[np.int64] | None = None
) -> None:
    """The levels of one array's cells; unused cells stay blank.

    Args:
        rewritten: addresses of cells to mark, as in a list of writes.

    Raises:
        UsageError: the file cannot be written.
    """
    rows, cols = image.chip.array.rows, image.chip.array.cols
    levels = np.where(image.used[array], image.levels[array].astype(float), np.nan)
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    count = image.chip.cell.levels
    drawn = axes.imshow(
        levels,
        cmap=_colours("viridis", count),
        vmin=-0.5,
        vmax=count - 0.5,
        interpolation="nearest",
        aspect="auto",
    )
    figure.colorbar(drawn, label="level", ticks=range(0, count, max(1, count // 8)))
    if rewritten is not None:
        inside = np.unique(rewritten[rewritten // (rows * cols) == array]) % (rows * cols)
        line, column = np.divmod(inside, cols)
        label = f"{len(inside)} cells rewritten"
        axes.scatter(column, line, s=5, marker="s", color=_REWRITTEN, linewidths=0, label=label)
        figure.legend(loc="outside upper center", frameon=False, fontsize=9)
    axes.set_xlabel("bitline")
    axes.set_ylabel("wordline")
    save_figure(figure, path)


def measured_picture(path: str | Path, found: Measurement) -> None:
    """Measured conductances by level, with the mean and the standard deviation fitted to them.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    position = np.arange(len(found.levels))
    for number, level in enumerate(found.levels):
        # Spread over a part of the level's width by order, so that equal values stay apart.
        shift = np.linspace(-0.35, 0.35, len(level.samples_us))
        axes.plot(number + shift, level.samples_us, ".", color=_BEFORE, markersize=2, zorder=1)
    axes.errorbar(
        position,
        [level.mean_us for level in found.levels],
        [level.sigma_us for level in found.levels],
        fmt="_",
        color=_AFTER,
        capsize=3,
        label="mean ± σ",
    )
    axes.set_xticks(position[:: -(-len(position) // 16)])
    axes.set_xlabel("level")
    axes.set_ylabel("conductance in µS")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    count = sum(len(level.samples_us) for level in found.levels)
    caption(figure, f"{count:,} measured conductances")
    save_figure(figure, path)


def lines_picture(
    path: str | Path,
    name: str,
    lines: Mapping[str, Mapping[Any, Sequence[float]]],
    samples: int,
    title: str = "",
    in_float: float | None = None,
    among: str = "",
    metric: Metric = CLASSIFICATION.metric,
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
        label = f"float {in_float:.1%}" if shares else f"float {metric.text(in_float)}"
        axes.axhline(scale * in_float, color=REFERENCE, linewidth=1, linestyle=":", label=label)
    for number, (label, line) in enumerate(lines.items()):
        at = sorted(line, key=place.__getitem__)
        # Side by side, so that no bar hides another.
        shift = (0.01 * reach if numbers else 0.06) * (number - (len(lines) - 1) / 2)
        means = [float(np.mean(line[value])) for value in at]
        axes.errorbar(
            [place[value] + shift for value in at],
            [scale * mean for mean in means],
            _around(
                means,
                [interval(line[v], samples) if shares else _over_dies(line[v]) for v in at],
                scale,
            ),
            marker="o",
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
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title=title or None)
    counts = stands_on([len(found) for line in lines.values() for found in line.values()], samples)
    over = "dies and samples" if shares else "dies"
    caption(figure, f"a point: {counts}{among}; bars: 95 % interval over {over}")
    save_figure(figure, path)


def _around(
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


def _colours(name: str, count: int) -> Colormap:
    from matplotlib import colormaps

    return colormaps[name].resampled(count)


def _costs(axes: Axes, found: Explanation) -> None:
    position, metric = np.arange(len(found.costs)), found.metric
    scale = metric.scale
    for shift, colour, label, lost in (
        (-0.19, _AFTER, "won when it is switched off", [c.switched_off for c in found.costs]),
        (0.19, _BEFORE, "lost when it alone is on", [c.alone for c in found.costs]),
    ):
        axes.barh(
            position + shift,
            [scale * entry.mean for entry in lost],
            0.36,
            xerr=_around([entry.mean for entry in lost], [entry.interval for entry in lost], scale),
            error_kw={"elinewidth": 1, "capsize": 2},
            color=colour,
            label=label,
        )
    axes.axvline(0, color=REFERENCE, linewidth=1)
    axes.set_yticks(position, [cost.element.name for cost in found.costs])
    axes.invert_yaxis()
    points = metric.unit == "%"
    axes.set_xlabel(f"points of {metric.name}" if points else f"{metric.name} lost")
    total = f"{scale * found.together.mean:.1f} points" if points else f"{found.together.mean:.4g}"
    axes.set_title(f"all together {total}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _layers(axes: Axes, found: Explanation) -> None:
    layers = found.layers
    number = np.arange(1, len(layers) + 1)
    share = [100 * layer.clipped for layer in layers]
    clipped = axes.twinx()
    clipped.bar(number, share, 0.6, color=_FAINT)
    clipped.set_ylabel("clipped codes in %", color=_REWRITTEN)
    # The lowest quarter, beneath the lines.
    clipped.set_ylim(0, 4 * max(0.25, *share))
    for label, colour, style, errors in (
        ("this layer's read noise", _BEFORE, "o:", [layer.read_noise for layer in layers]),
        ("this layer's ADC", REFERENCE, "o:", [layer.adc for layer in layers]),
        ("this layer's cells", _AFTER, "o:", [layer.cells for layer in layers]),
        ("in the whole network", _AFTER, "o-", [layer.total for layer in layers]),
    ):
        ratios = [layer.snr_db(error) for layer, error in zip(layers, errors, strict=True)]
        shown = np.array(ratios, dtype=np.float64)  # None becomes NaN, which is not drawn
        axes.plot(number, shown, style, color=colour, markersize=3, linewidth=1.2, label=label)
    axes.set_zorder(clipped.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_xlabel("layer")
    axes.set_ylabel("signal to noise in dB")
    axes.locator_params(axis="x", integer=True)
    for side in (axes, clipped):
        side.spines["top"].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
