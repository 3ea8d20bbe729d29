"""Chapters of tables: points of a sweep, and dies of many recoveries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pimc.pictures.sweep import axes_of, sweep_pictures
from pimc.pictures.wafer import pictures_of_dies
from pimc.reports.blocks import Block, Cell, Dot, Dots, Facts, Part, Table
from pimc.reports.chapters.figures import before_and_after, drawn, metric_of, named
from pimc.reports.charts import dot, scale_of
from pimc.reports.numbers import age_text, engineering, percent, plain
from pimc.studies.recoveries.summary import summary_of
from pimc.studies.sweep_columns import KEYS as SWEEP_KEYS
from pimc.tasks.metric import Metric

__all__ = ["brief_of_sweep", "part_of_recoveries", "part_of_sweep"]

Row = Mapping[str, Any]
#: Rows that are drawn one by one; the table has all.
_MOST_DRAWN = 200
#: Of more dies so many are drawn, below the pictures that are of all.
_DRAWN_OF_MANY = 40
_MOST_ROWS = 2_000
#: Titles of the pictures of dies.
_OF_DIES = {"": "{} that dies reach", ".wafer": "{} on the wafer"}


def part_of_sweep(rows: Sequence[Row], name: str) -> Part:
    """All points of a sweep.

    Args:
        rows: of its table.
        name: what it is called: its file.
    """
    metric = metric_of(rows[0])
    first = rows[0]
    shared = Facts(
        rows=[
            (f"SHA-256 of the {what}", str(first.get(f"{key}_sha256") or ""))
            for key, what in (
                ("model", "model"), ("chip", "chip that is varied"), ("calib", "calibration data"),
                ("data", "labelled data"),
            )
        ],
        title="Provenance",
        wide=True,
    )  # fmt: skip
    lines = drawn(
        (f"{named(metric)} against {parameter}", draw)
        for parameter, draw in sweep_pictures(axes_of(rows), rows, metric)
    )
    blocks = [*lines, *_drawn_points(rows, metric), shared]
    return Part("sweep", name, brief_of_sweep(rows), blocks)


def brief_of_sweep(rows: Sequence[Row]) -> list[Block]:
    """What a sweep went over, and its points."""
    metric = metric_of(rows[0])
    key, first = metric.key, rows[0]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in SWEEP_KEYS))
    failed = sum(bool(row["error"]) for row in rows)
    facts = Facts(
        rows=[
            ("Points", f"{len(rows):,}" + (f", {failed:,} not compiled" if failed else "")),
            ("Over", "; ".join(f"{name}: {_values(rows, name)}" for name in names)),
            ("Dies a point", plain(first["dies"])),
            ("Seed of the first die", plain(first["seed"])),
            ("Samples a die", plain(first["samples"])),
            ("Age of the cells", age_text(first["age_s"]) if first["age_s"] else "fresh"),
            (f"{named(metric)} of the float network", metric.text(first.get(f"float_{key}"))),
        ]
    )
    table = Table(
        columns=(
            "Point", *names, f"Mean {metric.name}", "95 % interval", "Std over dies", "Arrays",
            "Cells", "Energy", "Latency", "Why not compiled",
        ),
        rows=[_point(n, row, names, metric) for n, row in enumerate(rows[:_MOST_ROWS], 1)],
        caption="Points of the sweep",
        title="Points",
        note=f"Intervals are over dies and samples.{_more(rows)}",
    )  # fmt: skip
    return [facts, table]


def _more(rows: Sequence[Row]) -> str:
    return f" The first {_MOST_ROWS:,} of {len(rows):,} rows." if len(rows) > _MOST_ROWS else ""


def _values(rows: Sequence[Row], name: str) -> str:
    found = list(dict.fromkeys(str(row[name]) for row in rows if row.get(name) is not None))
    return ", ".join(found[:12]) + (f" and {len(found) - 12:,} more" if len(found) > 12 else "")


def _point(number: int, row: Row, names: Sequence[str], metric: Metric) -> list[Cell]:
    key = metric.key
    mean, low, high, deviation = (row.get(f"{key}_{x}") for x in ("mean", "low", "high", "std"))
    energy, latency = row.get("energy_pj"), row.get("latency_ns")
    return [
        Cell(str(number), number),
        *(Cell(_as_given(row.get(name)), row.get(name)) for name in names),
        Cell(metric.text(mean), mean),
        Cell(metric.texts(low, high), low),
        Cell("–" if deviation is None else metric.text(deviation), deviation),
        Cell(plain(row.get("arrays")), row.get("arrays")),
        Cell(plain(row.get("cells")), row.get("cells")),
        Cell("–" if energy is None else engineering(energy * 1e-12, "J"), energy),
        Cell("–" if latency is None else engineering(latency * 1e-9, "s"), latency),
        Cell(row["error"] or "–", row["error"] or None),
    ]


def _as_given(value: object) -> str:
    """A parameter as the user writes it: no commas in 1024."""
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _drawn_points(rows: Sequence[Row], metric: Metric) -> list[Block]:
    key, scale = metric.key, metric.scale
    known = [row for row in rows if row.get(f"{key}_mean") is not None][:_MOST_DRAWN]
    if not known:
        return []
    names = [name for name in known[0] if name not in SWEEP_KEYS]
    varied = [n for n in names if len({str(row.get(n)) for row in rows}) > 1] or names
    in_float = known[0].get(f"float_{key}")
    fields = ("mean", "low", "high")
    values = [row[f"{key}_{x}"] for row in known for x in fields if row[f"{key}_{x}"] is not None]
    values += [] if in_float is None else [in_float]
    top = 100.0 if metric.unit == "%" else None
    axis = scale_of([scale * value for value in values], metric.unit, top)
    shown: list[tuple[str, list[Dot]]] = []
    for row in known:
        mean, low, high = (row[f"{key}_{x}"] for x in fields)
        ends = tuple(None if end is None else scale * end for end in (low, high))
        text = f"{metric.text(mean)} ({metric.texts(low, high)})"
        label = ", ".join(f"{name} = {_as_given(row.get(name))}" for name in varied)
        shown.append((label, [dot(axis, 1, scale * mean, (ends[0], ends[1]), text)]))
    lines = [] if in_float is None else [
        (axis.at(scale * in_float), f"float {metric.text(in_float)}")
    ]  # fmt: skip
    first = known[0]
    note = (
        f"A point: {first['dies']:,} dies, {first['samples']:,} samples. "
        "Lines: 95 % interval over dies and samples."
    )
    title = f"{named(metric)} by point"
    return [Dots(scale=axis, rows=shown, legend=(), lines=lines, title=title, note=note)]


def part_of_recoveries(rows: Sequence[Row], name: str) -> Part:
    """All dies of a table of recoveries."""
    metric = metric_of(rows[0])
    key = metric.key
    summary = summary_of(rows, metric)
    sound = [row for row in rows if not row["error"]]
    first = sound[0] if sound else rows[0]
    facts = Facts(
        rows=[
            (
                "Dies",
                f"{len(rows):,}" + (f", {summary['failed']:,} failed" * bool(summary["failed"])),
            ),
            *_compared(summary["metric"], metric),
            *_compared(summary["loss"], Metric("held-out loss", higher_is_better=False)),
            ("Strategy", str(first["strategy"] or "")),
            ("Samples a die", plain(first["samples"])),
            ("Held-out calibration samples", plain(first["held_out"])),
        ]
    )
    many = len(sound) > _MOST_DRAWN
    by_die = before_and_after(
        [
            (row["die"], row[f"{key}_before"], row[f"{key}_after"])
            for row in (_spread(sound, _DRAWN_OF_MANY) if many else sound)
        ],
        metric, first["samples"], first[f"float_{key}"], first[f"quantized_{key}"],
    )  # fmt: skip
    if by_die is not None and many:
        more = f" These are {_DRAWN_OF_MANY} of {len(sound):,} dies, evenly out of the table."
        by_die = replace(by_die, note=by_die.note + more)
    shared = Facts(
        rows=[
            (what, str(first[column] or ""))
            for column, what in (
                ("parent_sha256", "Image that was recovered"), ("options_sha256", "Options"),
                ("calib_sha256", "Calibration data"), ("data_sha256", "Labelled data"),
            )
        ],
        title="Provenance (SHA-256)",
        wide=True,
    )  # fmt: skip
    pictures = drawn(
        (_OF_DIES[kind].format(named(metric)), draw)
        for kind, draw in pictures_of_dies(rows, metric, in_float=first[f"float_{key}"])
    )
    one_by_one = [] if by_die is None else [by_die]
    figures = [*pictures, *one_by_one] if many else [*one_by_one, *pictures]
    blocks = [*figures, _dies(rows, metric), shared]
    return Part("recoveries", name, [facts], blocks)


def _spread(rows: Sequence[Row], count: int) -> list[Row]:
    """So many rows, evenly out of all."""
    return [rows[number * len(rows) // count] for number in range(count)]


def _worst(rows: Sequence[Row], metric: Metric, most: int) -> list[Row]:
    """At most so many rows, in their order: those that failed, and the worst."""

    def better_by(row: Row) -> float:
        after = None if row["error"] else row[f"{metric.key}_after"]
        return -math.inf if after is None else -metric.worse_by(after, 0.0)

    numbers = sorted(range(len(rows)), key=lambda number: better_by(rows[number]))[:most]
    return [rows[number] for number in sorted(numbers)]


def _compared(found: Mapping[str, Any] | None, metric: Metric) -> list[tuple[str, str]]:
    if found is None:
        return []
    name = named(metric)
    return [
        (
            f"{name}, {what}",
            f"{metric.text(part['mean'])} (95 % interval {metric.texts(*part['interval_95'])}), "
            f"{metric.number(part['lowest'])} to {metric.text(part['highest'])} by die",
        )
        for what, part in (("as programmed", found["before"]), ("recovered", found["after"]))
    ]


def _dies(rows: Sequence[Row], metric: Metric) -> Table:
    key = metric.key
    figures = [f"{key}_before", f"{key}_after", "loss_before", "loss_after"]
    table = []
    for row in _worst(rows, metric, _MOST_ROWS):
        total, rewritten = row["cells_total"], row["cells_rewritten"]
        share = rewritten / total if total and rewritten is not None else None
        table.append(
            [
                Cell(row["die"] or row["source"], row["die"] or row["source"]),
                *(Cell(metric.text(row[name]), row[name]) for name in figures[:2]),
                *(Cell(plain(row[name]), row[name]) for name in figures[2:]),
                Cell(plain(rewritten), rewritten),
                Cell(percent(share, 1), share),
                Cell(plain(row["rounds"]), row["rounds"]),
                Cell(row["output"] or "–", row["output"] or None),
                Cell(row["error"] or "–", row["error"] or None),
            ]
        )
    return Table(
        columns=(
            "Die", f"{metric.name} before", f"{metric.name} after", "Loss before", "Loss after",
            "Cells rewritten", "Share", "Rounds", "Next image", "Why not recovered",
        ),
        rows=table,
        caption="Dies and what recovery made of them",
        title="Dies",
        note=f"The dies that failed and the worst ones: {_MOST_ROWS:,} of {len(rows):,}."
        if len(rows) > _MOST_ROWS
        else "",
    )  # fmt: skip
