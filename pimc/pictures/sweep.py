"""Pictures of a sweep: the metric against each parameter that takes several values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from pimc.chip.grid import Axis, as_text
from pimc.pictures.canvas import Place
from pimc.pictures.plots import lines_picture
from pimc.studies.sweep_columns import KEYS, Row
from pimc.tasks.metric import Metric

__all__ = ["axes_of", "in_float", "sweep_pictures"]

#: Lines in one picture; where there would be more, they are drawn for one parameter only.
LINES = 8


def axes_of(rows: Sequence[Row]) -> list[Axis]:
    """The parameters of a table and the values that they take, in the order of the rows."""
    names = dict.fromkeys(name for row in rows for name in row if name not in KEYS)
    return [Axis(name, tuple(dict.fromkeys(row[name] for row in rows))) for name in names]


def in_float(rows: Sequence[Row], metric: Metric) -> float | None:
    """What the float network reaches; None where no point was measured."""
    return next((row[f"float_{metric.key}"] for row in rows if not row["error"]), None)


def sweep_pictures(
    axes: Sequence[Axis], rows: Sequence[Row], metric: Metric, chip: str = ""
) -> Iterator[tuple[str, Callable[[Place], None]]]:
    """The name of each parameter that takes several values, and what draws its picture.

    Args:
        rows: of the sweep's table.
        chip: name of the chip whose parameters they are.
    """
    for number, axis in enumerate(axes):
        others = _others(number, axes)
        lines = _lines(axis, others, rows, metric.key)
        if len(axis.values) > 1 and lines:
            title = ", ".join(other.name for other in others)
            pooled = any(len(one.values) > 1 for one in axes if one not in (axis, *others))
            among = ", means over the other parameters" if pooled else ""
            yield (
                axis.name,
                partial(
                    lines_picture,
                    name=axis.name,
                    lines=lines,
                    samples=rows[0]["samples"],
                    title=title,
                    in_float=in_float(rows, metric),
                    among=among,
                    metric=metric,
                    chip=chip,
                ),
            )


def _others(number: int, axes: Sequence[Axis]) -> list[Axis]:
    """The parameters that tell the lines of a picture apart: all others, or the next one."""
    others = [axis for axis in (*axes[number + 1 :], *axes[:number]) if len(axis.values) > 1]
    return others if prod(len(axis.values) for axis in others) <= LINES else others[:1]


def _lines(
    axis: Axis, others: Sequence[Axis], rows: Sequence[Row], key: str
) -> dict[str, dict[Any, list[float]]]:
    """What the dies reach by line and value of a parameter; means over points of both."""
    found: dict[str, dict[Any, list[list[float]]]] = {}
    for row in rows:
        if not row["error"]:
            label = ", ".join(as_text(row[other.name]) for other in others)
            line = found.setdefault(label, {})
            line.setdefault(row[axis.name], []).append(row[f"{key}_per_die"])
    return {
        label: {value: np.mean(points, axis=0).tolist() for value, points in line.items()}
        for label, line in found.items()
    }
