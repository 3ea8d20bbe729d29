"""What each element of the chip costs, and what each layer's signal is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimc.pictures.canvas import (
    AFTER,
    BEFORE,
    FAINT,
    MARK,
    REFERENCE,
    Place,
    caption,
    new_figure,
    on_chip,
    save_figure,
    stands_on,
    styled,
)
from pimc.pictures.plots import around
from pimc.studies.ablation_result import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["explain_picture"]

#: Layers whose names have room under an axis.
_NAMED = 40


@styled
def explain_picture(path: Place, found: Explanation, chip: str = "") -> None:
    """What each element costs, with 95 % intervals over dies and samples; the layers' noise.

    Args:
        chip: name of the chip.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(9.6, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _costs(left, found)
    _layers(right, found)
    counts = stands_on(len(found.accuracies), found.samples)
    caption(
        figure,
        f"{counts}{on_chip(chip)}; error bars: 95 % interval of the paired differences over dies "
        f"and samples; signal to noise: means over the dies and {found.snr_samples:,} samples",
    )
    save_figure(figure, path)


def _costs(axes: Axes, found: Explanation) -> None:
    position, metric = np.arange(len(found.costs)), found.metric
    scale = metric.scale
    for shift, colour, label, lost in (
        (-0.19, AFTER, "won when it is switched off", [c.switched_off for c in found.costs]),
        (0.19, BEFORE, "lost when it alone is on", [c.alone for c in found.costs]),
    ):
        axes.barh(
            position + shift,
            [scale * entry.mean for entry in lost],
            0.36,
            xerr=around([entry.mean for entry in lost], [entry.interval for entry in lost], scale),
            error_kw={"elinewidth": 1, "capsize": 2},
            color=colour,
            label=label,
        )
    axes.axvline(0, color=REFERENCE, linewidth=1)
    axes.set_yticks(position, [cost.element.name for cost in found.costs])
    axes.invert_yaxis()
    points = metric.unit == "%"
    total = f"{scale * found.together.mean:.1f} points" if points else f"{found.together.mean:.4g}"
    what = f"points of {metric.name}" if points else f"{metric.name} lost"
    axes.set_xlabel(f"{what} (all together {total})")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))


def _layers(axes: Axes, found: Explanation) -> None:
    layers = found.layers
    number = np.arange(1, len(layers) + 1)
    share = [100 * layer.clipped for layer in layers]
    clipped = axes.twinx()
    clipped.bar(number, share, 0.6, color=FAINT)
    clipped.set_ylabel("clipped codes in %", color=MARK)
    # The lowest quarter, beneath the lines.
    clipped.set_ylim(0, 4 * max(0.25, *share))
    for label, colour, style, errors in (
        ("this layer's read noise", BEFORE, "o:", [layer.read_noise for layer in layers]),
        ("this layer's ADC", REFERENCE, "^:", [layer.adc for layer in layers]),
        ("this layer's cells", AFTER, "s:", [layer.cells for layer in layers]),
        ("in the whole network", AFTER, "D-", [layer.total for layer in layers]),
    ):
        ratios = [layer.snr_db(error) for layer, error in zip(layers, errors, strict=True)]
        shown = np.array(ratios, dtype=np.float64)  # None becomes NaN, which is not drawn
        axes.plot(number, shown, style, color=colour, markersize=3, linewidth=1.2, label=label)
    axes.set_zorder(clipped.get_zorder() + 1)
    axes.patch.set_visible(False)
    if len(layers) <= _NAMED:
        axes.set_xticks(number, [layer.name for layer in layers], rotation=90, fontsize=7)
    else:
        axes.set_xlabel("layer, by its number")
        axes.locator_params(axis="x", integer=True)
    axes.set_ylabel("signal to noise in dB")
    clipped.spines["right"].set_visible(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
