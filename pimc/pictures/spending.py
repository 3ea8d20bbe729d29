"""What a network costs against what it loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pimc.pictures.canvas import (
    AFTER,
    BEFORE,
    MARK,
    REFERENCE,
    Place,
    caption,
    new_figure,
    save_figure,
    stands_on,
    styled,
    tell_break,
)
from pimc.tasks.metric import Metric

__all__ = ["front_picture"]


@styled
def front_picture(
    path: Place,
    points: Sequence[tuple[float, float | None]],
    measured: Sequence[tuple[float, float, tuple[float, ...]]],
    *,
    taken: int,
    allowed: float,
    metric: Metric,
    cost: str,
    about: str,
    dies: int,
    samples: int,
) -> None:
    """The front: what its points cost, and what drop they are expected and measured to have.

    Args:
        points: cost and expected drop of each, where one is known.
        measured: cost, drop, and the ends of its 95 % interval.
        taken: which of those was taken.
        allowed: the drop that is allowed.
        cost: what is counted, with its unit.
        about: state of the cells and chip, for the caption.
        dies: that a measured point stands on; 0 for perfect cells.
        samples: that it was measured on.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.0, 3.6)
    axes = figure.add_subplot()
    scale = metric.scale
    known = [(x, drop) for x, drop in points if drop is not None]
    if known:
        x, y = np.asarray(known).T
        axes.step(
            x, scale * y, where="post", color=BEFORE, linewidth=1.4,
            label="expected from sensitivities",
        )  # fmt: skip
    told: set[str] = set()
    for number, (x, drop, ends) in enumerate(measured):
        distances = [abs(end - drop) if np.isfinite(end) else 0.0 for end in sorted(ends)]
        mine = number == taken
        label = "taken" if mine else "measured"
        axes.errorbar(
            [x], [scale * drop], scale * np.asarray(distances)[:, None],
            marker="D" if mine else "o", markersize=6 if mine else 4, capsize=3, elinewidth=0.8,
            color=MARK if mine else AFTER, zorder=3 if mine else 2, linestyle="",
            label=None if label in told else label,
        )  # fmt: skip
        told.add(label)
    axes.axhline(
        scale * allowed, color=REFERENCE, linewidth=1, linestyle=":",
        label=f"allowed {metric.number(allowed)}",
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.set_xlabel(cost)
    unit = " in points" if metric.unit == "%" else f" in {metric.unit}" if metric.unit else ""
    axes.set_ylabel(f"drop of {metric.name}{unit}")
    figure.legend(loc="outside upper center", ncols=4)
    stands = stands_on(dies, samples) if dies else f"{samples:,} held-out samples"
    over = "dies and samples" if dies else "samples"
    bars = f"error bars: 95 % interval over {over}{tell_break(axes)}{tell_break(axes, 'x')}"
    caption(figure, f"{stands}, {about}; {bars}")
    save_figure(figure, path)
