"""Pictures of many dies: how many are good enough, and where on the wafer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.pictures.canvas import (
    AFTER,
    BEFORE,
    MARK,
    REFERENCE,
    Place,
    caption,
    new_figure,
    on_chip,
    save_figure,
    stands_on,
    styled,
    tell_break,
)
from pimc.studies.recoveries.summary import figures_of
from pimc.studies.tables.row_file import Row
from pimc.tasks.metric import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PatchCollection

__all__ = ["pictures_of_dies", "wafer_picture", "yield_picture"]

#: Part of the distance to its neighbour that a die fills.
_FILLED = 0.9
#: Width of one wafer of the two side by side, in points, about.
_WIDTH_PT = 200
#: Dies that are narrower, in points, have no edges and no gaps: nothing else would be seen.
_NARROW_PT = 4
#: How wide a cross is, in points.
_CROSS_PT = 5
#: Dies that are drawn as lines one by one; more would make a large file.
_AS_LINES = 1000
#: Dies that are marked one by one in a line; more would hide it.
_MARKED = 30


@styled
def yield_picture(
    path: Place,
    before: Sequence[float],
    after: Sequence[float],
    metric: Metric,
    samples: int | None,
    *,
    in_float: float | None = None,
    target: float | None = None,
    chip: str = "",
) -> None:
    """The share of dies that reach a value, against the value, before and after recovery.

    Args:
        before, after: the figure of each die.
        samples: that each of them was measured on.
        in_float: of the float network, drawn across.
        target: the worst value that is good enough; the legend tells the shares that reach it.
        chip: name of the chip.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes, scale = figure.add_subplot(), metric.scale
    for values, colour, mark, label in (
        (before, BEFORE, "o", "as programmed"),
        (after, AFTER, "s", "after recovery"),
    ):
        # From the best die on, each brings the share up by its part.
        best_first = sorted(values, key=lambda value: metric.worse_by(value, 0.0))
        reached = 100 * np.arange(len(values) + 1) / len(values)
        if target is not None:
            good = sum(metric.worse_by(value, target) <= 0 for value in values)
            label = f"{label}: {good} of {len(values)} within target"
        places = scale * np.asarray([best_first[0], *best_first])
        marker = mark if len(values) <= _MARKED else ""
        axes.step(
            places, reached, where="post", color=colour, marker=marker, markersize=3, label=label
        )
    for value, style, name in ((in_float, ":", "float"), (target, "--", "target")):
        if value is not None:
            label = f"{name} {metric.text(value)}"
            axes.axvline(scale * value, color=REFERENCE, linewidth=1, linestyle=style, label=label)
    axes.set_ylim(0, 103)
    axes.set_xlabel(_named(metric))
    axes.set_ylabel("dies that reach it in %")
    figure.legend(loc="outside upper center", ncols=2)
    broken = tell_break(axes, "x", scale * metric.low)
    caption(figure, f"{stands_on(len(after), samples)}{on_chip(chip)}{broken}")
    save_figure(figure, path)


@styled
def wafer_picture(
    path: Place,
    places: Sequence[tuple[float, float]],
    before: Sequence[float | None],
    after: Sequence[float | None],
    metric: Metric,
    samples: int | None,
    *,
    target: float | None = None,
    chip: str = "",
) -> None:
    """What each die reaches, at its place on the wafer, before and after recovery.

    Args:
        places: x and y of each die.
        before, after: their figures; a cross marks a die of which none is known.
        samples: that each of them was measured on.
        target: the worst value that is good enough; dies below it have an orange edge. Where
            there are too many dies for edges, dies below it are orange, unless most are.
        chip: name of the chip.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(7.6, 3.9)
    narrow = _die_pt(places) < _NARROW_PT
    known = [metric.scale * value for value in (*before, *after) if value is not None]
    span = (min(known), max(known)) if known else (0.0, 1.0)
    pair = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, values, title in zip(
        pair, (before, after), ("as programmed", "after recovery"), strict=True
    ):
        drawn = _dies(axes, places, values, metric, span, target)
        if target is not None and narrow:
            title = f"{title}: {_within(values, metric, target)}"
        axes.set_title(title)
    figure.colorbar(drawn, ax=pair, label=_named(metric))
    missing = sum(value is None for value in after)
    worse = "orange: worse than the target, where at most half are"
    edge = worse if narrow else "orange edge: worse than the target"
    marks = [edge] if target is not None else []
    marks += [f"cross: not recovered ({missing})"] if missing else []
    caption(figure, "; ".join([f"{stands_on(len(places), samples)}{on_chip(chip)}", *marks]))
    save_figure(figure, path)


def pictures_of_dies(
    rows: Sequence[Row],
    metric: Metric,
    *,
    in_float: float | None,
    target: float | None = None,
    chip: str = "",
) -> Iterator[tuple[str, Callable[[Place], None]]]:
    """What draws the yield, and the wafer where it is known where dies lie, with a name of each.

    There is nothing to draw without labelled data.

    Args:
        rows: of the table of recoveries.
        in_float: of the float network.
        target: the worst value that is good enough.
        chip: name of the chip.
    """
    sound = [row for row in rows if not row["error"]]
    before, after = figures_of(sound, metric.key)
    if not before:
        return
    told = {"metric": metric, "samples": sound[0]["samples"], "chip": chip, "target": target}
    yield "", partial(yield_picture, before=before, after=after, in_float=in_float, **told)
    placed = [row for row in rows if row["x"] is not None and row["y"] is not None]
    if placed:
        yield ".wafer", partial(
            wafer_picture,
            places=[(row["x"], row["y"]) for row in placed],
            before=[row[f"{metric.key}_before"] for row in placed],
            after=[row[f"{metric.key}_after"] for row in placed],
            **told,
        )  # fmt: skip


def _dies(
    axes: Axes,
    places: Sequence[tuple[float, float]],
    values: Sequence[float | None],
    metric: Metric,
    span: tuple[float, float],
    target: float | None,
) -> PatchCollection:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    x, y = np.asarray(places, np.float64).T
    wide, high, die_pt = _pitch(x), _pitch(y), _die_pt(places)
    narrow = die_pt < _NARROW_PT
    filled = 1 if narrow else _FILLED
    known = [
        (place, value) for place, value in zip(places, values, strict=True) if value is not None
    ]
    boxes = [
        Rectangle(
            (at[0] - filled * wide / 2, at[1] - filled * high / 2), filled * wide, filled * high
        )
        for at, _ in known
    ]
    missed = [target is not None and metric.worse_by(value, target) > 0 for _, value in known]
    edged = bool(missed) and not narrow
    drawn = PatchCollection(
        boxes, cmap="viridis",
        linewidths=[1.5 if one else 0.5 for one in missed] if edged else 0,
        edgecolors=[MARK if one else REFERENCE for one in missed] if edged else "none",
        antialiaseds=not narrow, rasterized=len(boxes) > _AS_LINES,
    )  # fmt: skip
    drawn.set_array(metric.scale * np.asarray([value for _, value in known]))
    drawn.set_clim(*span)
    axes.add_collection(drawn)
    if narrow and 2 * sum(missed) <= len(missed):
        below = [box for box, one in zip(boxes, missed, strict=True) if one]
        axes.add_collection(
            PatchCollection(
                below, facecolors=MARK, linewidths=0, antialiaseds=False, rasterized=True
            )
        )
    lost = np.asarray([value is None for value in values])
    axes.plot(x[lost], y[lost], "x", color=REFERENCE, markersize=min(_CROSS_PT, die_pt))
    axes.set_xlim(x.min() - wide, x.max() + wide)
    axes.set_ylim(y.min() - high, y.max() + high)
    axes.set_aspect("equal")
    for axis, at in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_locator(MaxNLocator(6, integer=bool((at == at.round()).all())))
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    return drawn


def _within(values: Sequence[float | None], metric: Metric, target: float) -> str:
    """How many dies are within a target, of those whose figure is known."""
    known = [value for value in values if value is not None]
    good = sum(metric.worse_by(value, target) <= 0 for value in known)
    return f"{good:,} of {len(known):,} within target"


def _die_pt(places: Sequence[tuple[float, float]]) -> float:
    """How wide a die is drawn, in points, about."""
    across = (float(np.ptp(at) / _pitch(at)) + 1 for at in np.asarray(places, np.float64).T)
    return _WIDTH_PT / max(across)


def _pitch(at: npt.NDArray[np.float64]) -> float:
    """How far apart neighbours are."""
    gaps = np.diff(np.unique(at))
    return float(gaps.min()) if len(gaps) else 1.0


def _named(metric: Metric) -> str:
    return f"{metric.name} in {metric.unit}" if metric.unit else metric.name
