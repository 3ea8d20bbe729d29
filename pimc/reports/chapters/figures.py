"""Figures that several chapters tell: of which metric they are, and dies before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pimc.extras import MissingLibraryError
from pimc.pictures.canvas import Place, inline
from pimc.reports.blocks import Block, Dots, Facts, Picture
from pimc.reports.charts import dot, scale_of
from pimc.studies.intervals import wilson_interval
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.metric import Metric

__all__ = ["before_and_after", "drawn", "metric_of", "named"]


def metric_of(told: Mapping[str, Any]) -> Metric:
    """The metric of figures whose keys say ``accuracy``, or else of another task."""
    if any(name in told for name in ("accuracy_before", "accuracy_mean")):
        return CLASSIFICATION.metric
    name, unit = told.get("metric") or told.get("task") or "metric", told.get("metric_unit") or ""
    higher = told.get("direction", "higher") == "higher"
    return Metric(str(name), str(unit), higher_is_better=higher)


def before_and_after(
    dies: Sequence[tuple[str, float | None, float | None]],
    metric: Metric,
    samples: int | None,
    in_float: float | None,
    quantized: float | None,
) -> Dots | None:
    """A figure by die, as programmed and after recovery; None where none is known.

    Args:
        dies: name and figures of each.
        samples: that each was measured on; None where that is not known.
        in_float, quantized: of the float network, and of perfect cells.
    """
    scale = metric.scale
    known = [value for _, *both in dies for value in both if value is not None]
    if not known:
        return None
    ends = {value: _ends(value, metric, samples) for value in known}
    extra = [value for value in (in_float, quantized) if value is not None]
    inside = [end for pair in ends.values() for end in pair if end is not None]
    axis = scale_of(
        [scale * value for value in (*known, *extra, *inside)],
        metric.unit,
        100.0 if metric.unit == "%" else None,
    )
    rows = []
    for name, before, after in dies:
        marks = [
            dot(
                axis, series, scale * value,
                (_scaled(ends[value][0], scale), _scaled(ends[value][1], scale)),
                metric.text(value),
            )
            for series, value in enumerate((before, after))
            if value is not None
        ]  # fmt: skip
        rows.append((name, marks))
    lines = [
        (axis.at(scale * value), f"{what} {metric.text(value)}")
        for what, value in (("float", in_float), ("perfect cells", quantized))
        if value is not None
    ]
    count = f"{len(dies):,} die{'s' * (len(dies) != 1)}"
    if samples is None:
        stands = f"{count}; how many samples is not noted, so no interval is drawn."
    elif metric.key == "accuracy":
        stands = f"{count}, {samples:,} samples each. Lines: Wilson's 95 % interval over samples."
    else:
        stands = f"{count}, {samples:,} samples each."
    return Dots(
        scale=axis,
        rows=rows,
        legend=("as programmed", "after recovery"),
        lines=lines,
        title=f"{named(metric)} by die, before and after recovery",
        note=stands,
    )


def _ends(value: float, metric: Metric, samples: int | None) -> tuple[float | None, float | None]:
    if samples is None or metric.key != "accuracy":
        return None, None
    return wilson_interval(value, samples)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def named(metric: Metric) -> str:
    """The metric's name as a heading."""
    return f"{metric.name[:1].upper()}{metric.name[1:]}"


def drawn(pictures: Iterable[tuple[str, Callable[[Place], None]]]) -> list[Block]:
    """Pictures by their titles; without matplotlib what there is to install.

    The page is written all the same: its tables tell what they show.
    """
    try:
        return [Picture(svg=inline(draw, title), title=title) for title, draw in pictures]
    except MissingLibraryError as cause:
        return [Facts(rows=[("Pictures", f"{cause.message}; {cause.hint}")])]
